package root

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"

	"penstock/cgroup/cgroupfs"
)

// What is off at boot isn't had by another unit or container.
func TestRemedyFor(t *testing.T) {
	words, err := cgroupfs.ParseWords(strings.NewReader("BOOT_IMAGE=/vmlinuz quiet cgroup_disable=memory,io cgroup_disable=cpu\n"))
	if err != nil {
		t.Fatal(err)
	}
	atBoot := disabled(words)
	for lacks, want := range map[string]string{"memory": "take cgroup_disable=memory off", "cpu": "take cgroup_disable=cpu off", "pids": "Delegate=yes"} {
		if got := remedyFor([]string{lacks}, atBoot); !strings.HasPrefix(got, want) && !strings.Contains(got, want) {
			t.Errorf("%s: %s", lacks, got)
		}
	}
	if got := remedyFor(cgroupfs.Needed(), nil); strings.Contains(got, "cgroup_disable") {
		t.Errorf("nothing is off: %s", got)
	}
}

// They are outside of memory limits: an operator must hear of it where nothing holds them.
func TestReport_HugePages(t *testing.T) {
	some, none := t.TempDir(), t.TempDir()
	for dir, n := range map[string]string{some: "4\n", none: "0\n"} {
		if err := os.MkdirAll(dir+"/hugepages-2048kB", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/hugepages-2048kB/nr_hugepages", []byte(n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	held, open := t.TempDir(), t.TempDir()
	if err := os.WriteFile(held+"/hugetlb.2MB.max", []byte("0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		runs, pages string
		told        bool
	}{{open, some, true}, {held, some, false}, {open, none, false}} {
		var log bytes.Buffer
		r := &Root{runs: &cgroupfs.Dir{Path: tt.runs}, log: slog.New(slog.NewTextHandler(&log, nil))}
		r.warnHugePages(tt.pages)
		if strings.Contains(log.String(), "no memory limit counts them") != tt.told {
			t.Errorf("%+v: %q", tt, &log)
		}
		var report Report
		report.addHugePages(tt.runs == held, hugePages(tt.pages))
		if f := report.Facts[0]; f.OK == tt.told || (f.Remedy != "") != tt.told || f.Needed != "" {
			t.Errorf("%+v", f)
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
