package cgroup

import (
	"slices"
	"testing"
)

// The report must not promise what Open then refuses, nor the other way round.
func TestHostAgreesWithOpen(t *testing.T) {
	writablePlace(t)
	report, err := Host()
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

func TestKernelFact(t *testing.T) {
	for release, want := range map[string]bool{
		"6.18.44-fc-v669": true, "5.14.0": true, "5.13.19-generic": false, "4.19.0": false, "5.4": false, "odd": false,
	} {
		if f := kernelFact(release); f.OK != want {
			t.Errorf("%s: %v, want %v", release, f.OK, want)
		}
	}
}

func TestSupports(t *testing.T) {
	r := Report{Facts: []Fact{{Name: "mount", OK: true, Needed: Available}, {Name: "memory", Needed: Strict}, {Name: "io"}}}
	if r.Supports(Strict) || !r.Supports(Available) {
		t.Error("a host without the memory controller is good for available and not for strict")
	}
	r.Facts = slices.Insert(r.Facts, 0, Fact{Name: "kernel", Needed: Available})
	if r.Supports(Available) {
		t.Error("an old kernel is good for nothing")
	}
}
