package cgroup

import (
	"testing"

	"penstock/cgroup/root"
)

// The report must not promise what Open then refuses, nor the other way round.
func TestHost_AgreesWithOpen(t *testing.T) {
	writableLocation(t)
	report, err := root.Host()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Facts {
		t.Logf("%-20s %-5v %s %s", f.Name, f.OK, f.Detail, f.Remedy)
		if f.OK == (f.Remedy != "") {
			t.Errorf("%s: ok %v with remedy %q", f.Name, f.OK, f.Remedy)
		}
	}
	for _, mode := range []Mode{Strict, Available} {
		r, err := Open(t.Context(), Options{Mode: mode, Name: uniqueName()})
		if err == nil {
			if err := r.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if got := report.Supports(mode); got != (err == nil) {
			t.Errorf("%s: report says %v, Open says %v", mode, got, err)
		}
	}
}
