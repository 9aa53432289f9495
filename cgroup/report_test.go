package cgroup

import (
	"testing"
)

// The report must not promise what Open then refuses, nor the other way round.
func TestHost_AgreesWithOpen(t *testing.T) {
	writableLocation(t)
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

func TestReport_Supports(t *testing.T) {
	watched := Source{Name: "subtree", OK: true, Enforced: &Enforced{Memory: Watch, Pids: Watch, Kill: Kernel}}
	held := Source{Name: "scope", OK: true, Enforced: &Enforced{Memory: Kernel, Pids: Kernel, Kill: Kernel}}
	mount := Fact{Name: "mount", OK: true, Needed: Available}
	for _, tt := range []struct {
		name              string
		report            Report
		strict, available bool
		chosen            string // in available mode
	}{
		{"no way", Report{Facts: []Fact{mount}, Sources: []Source{{Name: "unit"}}}, false, false, ""},
		{"watched", Report{Facts: []Fact{mount, {Name: "memory", Needed: Strict}}, Sources: []Source{{Name: "unit"}, watched}}, false, true, "subtree"},
		{"held", Report{Facts: []Fact{mount, {Name: "io"}}, Sources: []Source{held}}, true, true, "scope"},
		{"the kernel goes first", Report{Facts: []Fact{mount}, Sources: []Source{watched, held}}, true, true, "scope"},
		{"an old kernel", Report{Facts: []Fact{{Name: "kernel", Needed: Available}}, Sources: []Source{held}}, false, false, "scope"},
	} {
		if tt.report.Supports(Strict) != tt.strict || tt.report.Supports(Available) != tt.available {
			t.Errorf("%s: strict %v, available %v", tt.name, tt.report.Supports(Strict), tt.report.Supports(Available))
		}
		if w, ok := tt.report.Chosen(Available); w.Name != tt.chosen || ok != (tt.chosen != "") {
			t.Errorf("%s: chosen %q %v, want %q", tt.name, w.Name, ok, tt.chosen)
		}
	}
}
