package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/cgroup"
	"penstock/config"
)

func TestCheckListen(t *testing.T) {
	dir := t.TempDir()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	live, err := net.Listen("unix", dir+"/live")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: dir + "/dead", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		address, detail string
		ok              bool
	}{
		{"127.0.0.1:0", "free", true},
		{taken.Addr().String(), "another process has this port", false},
		{"unix:" + dir + "/new", "free", true},
		{"unix:" + dir + "/dead", "free", true},
		{"unix:" + dir + "/live", "another process answers on this socket: stop it or change listen", false},
		{"unix:" + dir + "/file", "exists and is not a socket: remove it or change listen", false},
		{"unix:" + dir + "/none/s", dir + "/none: no such file or directory", false},
	}
	for _, tt := range tests {
		f := checkListen([]string{tt.address})[0]
		if f.OK != tt.ok || f.Detail != tt.detail {
			t.Errorf("%s: %+v, want %v %q", tt.address, f, tt.ok, tt.detail)
		}
	}
	left, err := filepath.Glob(dir + "/*")
	if err != nil || len(left) != 3 {
		t.Errorf("the check left or took something: %v %v", left, err)
	}
}

// hybrid is a host whose cgroup v2 has no controllers.
func hybrid() cgroup.Report {
	const detail = "available in /x: hugetlb"
	return cgroup.Report{Facts: []cgroup.Fact{
		{Name: "cgroup2 mount", OK: true, Needed: cgroup.Available},
		{Name: "controller memory", Detail: detail, Remedy: "r", Needed: cgroup.Strict},
		{Name: "controller pids", Detail: detail, Remedy: "r", Needed: cgroup.Strict},
		{Name: "controller cpu", Detail: detail, Remedy: "r"},
	}}
}

func TestCheckTellsLimitsTheHostCantHold(t *testing.T) {
	none := config.Limits{CPUWeight: 100}
	throttled := config.Limits{CPUWeight: 300, MemoryHigh: 1 << 30}
	c := config.Config{Limits: none, Backends: map[string]config.Backend{"pi": {Name: "pi", Limits: throttled}}}
	var keys []string
	for _, f := range checkCaps(hybrid(), c) {
		if f.OK || f.Advice {
			t.Errorf("%+v does not fail the check", f)
		}
		keys = append(keys, f.Name)
	}
	if diff := cmp.Diff([]string{"backends.pi.limits.cpu_weight", "backends.pi.limits.memory_high"}, keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	whole := hybrid()
	for i := range whole.Facts {
		whole.Facts[i].OK = true
	}
	if got := checkCaps(whole, c); len(got) > 0 {
		t.Errorf("a host with all controllers: %+v", got)
	}
}

func TestOneRemedyIsToldOnce(t *testing.T) {
	r := checkup{OK: true, Findings: checkHost(hybrid(), cgroup.Available)}
	var out bytes.Buffer
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "systemd.unified_cgroup_hierarchy=1"); n != 1 {
		t.Errorf("the remedy is told %d times:\n%s", n, &out)
	}
	if !strings.Contains(out.String(), "controller memory  not in cgroup v2 here (v2 has only: hugetlb)") {
		t.Errorf("report:\n%s", &out)
	}
}

func TestCheckSelfTest(t *testing.T) {
	if f := checkSelfTest(hybrid(), true); !f.OK {
		t.Errorf("%+v", f)
	}
	if f := checkSelfTest(hybrid(), false); f.OK || !f.Advice {
		t.Errorf("switched off: %+v", f)
	}
	if f := checkSelfTest(cgroup.Report{Facts: []cgroup.Fact{{Name: "cgroup2 mount", Needed: cgroup.Available}}}, true); f.OK || f.Advice {
		t.Errorf("no groups: %+v", f)
	}
}
