package cgroup

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
