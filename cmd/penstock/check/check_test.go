package check

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"penstock/cgroup"
	"penstock/cgroup/root"
	"penstock/config"
	"penstock/server"
)

func TestCheck_Listen(t *testing.T) {
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
		{"unix:" + dir + "/live", "another process answers on this socket", false},
		{"unix:" + dir + "/file", "exists and is not a socket: remove it or change listen", false},
		{"unix:" + dir + "/none/s", "no directory " + dir + "/none: make it or change listen: listen unix " + dir + "/none/s: bind: no such file or directory", false},
	}
	for _, tt := range tests {
		f := listenFindings(server.DryRun{Config: config.Config{Listen: []string{tt.address}}})[0]
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
func hybrid() root.Report {
	const detail = "cgroup v2 has only hugetlb there"
	return root.Report{
		Facts: []root.Fact{
			{Name: "cgroup2 mount", OK: true, Needed: cgroup.Available},
			{Name: "controller memory", Detail: detail, Remedy: "boot", Needed: cgroup.Strict},
			{Name: "controller pids", Detail: detail, Remedy: "boot", Needed: cgroup.Strict},
			{Name: "controller cpu", Detail: detail, Remedy: "boot"},
		},
		Sources: []root.Source{
			{Name: "unit", Detail: "/x: not delegated to us", Remedy: "set Delegate=yes in the unit"},
			{Name: "scope", Detail: "no system manager here", Remedy: "run under systemd"},
			{Name: "subtree", OK: true, Detail: "groups in /x/y", Enforced: &cgroup.Enforced{
				Memory: cgroup.Watch, Pids: cgroup.Watch, Kill: cgroup.Kernel,
			}},
		},
	}
}

func TestCheck_Root(t *testing.T) {
	whole := hybrid()
	whole.Sources[1] = root.Source{Name: "scope", OK: true, Detail: "groups in z.scope", Enforced: &cgroup.Enforced{
		Memory: cgroup.Kernel, Pids: cgroup.Kernel, Kill: cgroup.Kernel,
	}}
	held := hybrid()
	held.Sources[2] = root.Source{Name: "subtree", Detail: "/x/y/daemon: another daemon holds it"}
	unit := Finding{Area: "root", Name: "unit", Advice: true, Detail: "/x: not delegated to us", Remedy: "set Delegate=yes in the unit"}
	noScope := Finding{Area: "root", Name: "scope", Advice: true, Detail: "no system manager here", Remedy: "run under systemd"}
	failed := func(f Finding) Finding { f.Advice = false; return f }
	for _, tt := range []struct {
		name    string
		host    root.Report
		mode    cgroup.Mode
		running bool
		want    []Finding
	}{
		{"watched", hybrid(), cgroup.Available, false, []Finding{
			unit, noScope, {Area: "root", Name: "subtree", OK: true, Detail: "serve would make its groups in /x/y"},
		}},
		{"strict", hybrid(), cgroup.Strict, false, []Finding{failed(unit), failed(noScope), {Area: "root", Name: "subtree",
			Detail: "groups in /x/y: the kernel can't hold memory and pids, cgroup v2 has none there",
			Remedy: "run as a unit with Delegate=yes, on a kernel booted with cgroup v2 only: systemd.unified_cgroup_hierarchy=1, or set isolation.mode = \"available\""}}},
		{"the kernel goes first", whole, cgroup.Available, false, []Finding{
			unit, {Area: "root", Name: "scope", OK: true, Detail: "serve would make its groups in z.scope"},
			{Area: "root", Name: "subtree", OK: true, Detail: "open too: groups in /x/y"},
		}},
		{"a daemon has it", held, cgroup.Available, true, []Finding{
			unit, noScope, {Area: "root", Name: "subtree", Advice: true, Detail: "/x/y/daemon: another daemon holds it"},
		}},
	} {
		if diff := cmp.Diff(tt.want, rootFindings(tt.host, tt.mode, tt.running)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestCheck_UnheldLimits(t *testing.T) {
	none := config.Limits{CPUWeight: 100}
	throttled := config.Limits{CPUWeight: 300, MemoryHigh: config.Size{Bytes: 1 << 30}}
	c := config.Config{Limits: none, Backends: map[string]config.Backend{"pi": {Name: "pi", Limits: throttled}}}
	var keys []string
	for _, f := range unheldFindings(hybrid().Sources[2].Enforced, c) {
		if f.OK || f.Advice {
			t.Errorf("%+v does not fail the check", f)
		}
		keys = append(keys, f.Name)
	}
	if diff := cmp.Diff([]string{"backends.pi.limits.cpu_weight", "backends.pi.limits.memory_high"}, keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if got := unheldFindings(&cgroup.Enforced{Memory: cgroup.Kernel, Pids: cgroup.Kernel, Kill: cgroup.Kernel, CPU: cgroup.Kernel}, c); len(got) > 0 {
		t.Errorf("a host with all controllers: %+v", got)
	}
}

func TestCheck_LimitsAbove(t *testing.T) {
	const gib = 1 << 30
	c := config.Config{Budget: config.Budget{Memory: config.Size{Bytes: 6 * gib}}, Limits: config.Limits{PidsMax: 512}}
	for _, tt := range []struct {
		memory, tasks *root.Bound
		notes         string
	}{
		{nil, nil, ""},
		{&root.Bound{N: 8 * gib, From: "/x/memory.high"}, &root.Bound{N: 512, From: "/x/pids.max"}, ""},
		{&root.Bound{N: 4 * gib, From: "/x/memory.high"}, nil, "/x/memory.high"},
		{nil, &root.Bound{N: 511, From: "/x/pids.max"}, "/x/pids.max"},
		{nil, &root.Bound{N: 0, From: "RLIMIT_NPROC"}, "RLIMIT_NPROC"},
	} {
		var notes string
		for _, f := range aboveFindings(c, tt.memory, tt.tasks) {
			if !f.OK && !f.Advice {
				t.Errorf("%+v fails the check", f)
			}
			if f.Advice {
				notes += f.Detail
			}
		}
		if (notes == "") != (tt.notes == "") || !strings.Contains(notes, tt.notes) {
			t.Errorf("%v, %v: notes %q, want %q", tt.memory, tt.tasks, notes, tt.notes)
		}
	}
}

func TestCheck_RemedyOnce(t *testing.T) {
	r := Report{OK: true, Findings: hostFindings(hybrid(), cgroup.Available)}
	var out bytes.Buffer
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "-> boot"); n != 1 {
		t.Errorf("the remedy is told %d times:\n%s", n, &out)
	}
	if !strings.Contains(out.String(), "controller memory  cgroup v2 has only hugetlb there") {
		t.Errorf("report:\n%s", &out)
	}
}

func TestCheck_BesideADaemon(t *testing.T) {
	taken := Finding{Area: "listen", Name: "127.0.0.1:1", Detail: portTaken}
	for _, tt := range []struct {
		report Report
		want   string
	}{
		{Report{Findings: []Finding{taken}}, "not ready to serve: the port is taken"},
		{Report{Running: true, Findings: []Finding{taken}}, "not ready to serve: a daemon is running already"},
		{Report{Findings: []Finding{{Area: "listen", Detail: "permission denied"}}}, "not ready to serve\n"},
		{Report{OK: true}, "ready to serve\n"},
	} {
		var out bytes.Buffer
		if err := tt.report.Print(&out); err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(out.String(), "\n")
		if verdict := lines[len(lines)-2]; !strings.HasPrefix(verdict, tt.want) {
			t.Errorf("%+v: %q, want %q", tt.report, verdict, tt.want)
		}
	}
}

// The others are in testdata/script/check.txtar: it moves the process that is asked.
func TestCheck_SelfTestWithoutGroups(t *testing.T) {
	none := root.Report{Facts: []root.Fact{{Name: "cgroup2 mount", Needed: cgroup.Available}}}
	trial := server.DryRun{Config: config.Config{Isolation: config.Isolation{Mode: "available"}}}
	if f, held := selfTestFinding(t.Context(), trial, none, nil); f.OK || f.Advice || held != nil {
		t.Errorf("%+v %v", f, held)
	}
}

func TestCheck_Noexec(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", unix.MS_NOEXEC, "size=1m"); err != nil {
		t.Skipf("needs root, to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	for _, state := range []string{dir, dir + "/to/be/made"} {
		f, running := stateFinding(server.DryRun{Config: config.Config{StateDir: state}})
		if f.OK || !f.Advice || running || !strings.Contains(f.Detail, "mounted noexec") || !strings.Contains(f.Remedy, "without noexec") {
			t.Errorf("%s: %+v", state, f)
		}
	}
}

// What a CLI says it is, and whether that is known to work.
func TestCheck_Versions(t *testing.T) {
	dir := t.TempDir()
	program := func(name, script string) []string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
		return []string{path}
	}
	backends := map[string]config.Backend{
		"new":    {Name: "new", Kind: "claude", Command: program("new", "echo warning; echo '9.9.9 (Claude Code)'")},
		"old":    {Name: "old", Kind: "claude", Command: program("old", "echo '1.0.3 (Claude Code)'")},
		"silent": {Name: "silent", Kind: "pi", Command: program("silent", "echo broken >&2; exit 3")},
		"mine":   {Name: "mine", Kind: "exec", Command: program("mine", "touch "+filepath.Join(dir, "ran"))},
	}
	trial := server.DryRun{Config: config.Config{Backends: backends}}
	var findings []Finding
	for _, name := range []string{"new", "old", "silent", "mine"} {
		findings = append(findings, backendFinding(trial, backends[name]))
	}
	addVersions(t.Context(), findings, backends)
	for i, want := range []struct {
		ok             bool
		detail, remedy string
	}{{true, "9.9.9 (Claude Code)", ""}, {false, "1.0.3 (Claude Code)", "oldest that is known to work"}, {false, "exit status 3: broken", "by hand"}, {true, "", ""}} {
		f := findings[i]
		if f.OK != want.ok || f.Advice == want.ok || !strings.Contains(f.Detail, want.detail) || !strings.Contains(f.Remedy, want.remedy) {
			t.Errorf("%+v, want %+v", f, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "ran")); err == nil {
		t.Error("a program that may be any was started")
	}
}

func TestCheck_TooManyHidden(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/first", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(dir+"/first", 12345, -1); err != nil {
		t.Skipf("needs root, to give files away: %v", err)
	}
	for i := range 1000 {
		if err := os.Link(dir+"/first", fmt.Sprintf("%s/x-%d", dir, i)); err != nil {
			t.Fatal(err)
		}
	}
	if f := hideFinding([]string{dir + "/first"}); !f.OK {
		t.Errorf("%+v", f)
	}
	if f := hideFinding([]string{dir + "/x-*"}); f.OK || !f.Advice || !strings.Contains(f.Detail, "488 names") {
		t.Errorf("%+v", f)
	}
}

// A configuration with problems is no fault of the host's.
func TestCheck_BadConfiguration(t *testing.T) {
	_, err := config.Load(config.Sources{Flags: map[string]string{"keep.runs": "few"}, Host: config.Host{MemoryBytes: 8 << 30}})
	r, err := Run(t.Context(), Input{Err: err})
	if err != nil || r.OK || r.Findings[0].Area != "config" {
		t.Fatalf("%+v %v", r, err)
	}
	host, err := root.Inspect(t.Context(), config.Config{}.GroupName())
	if err != nil {
		t.Fatal(err)
	}
	got := slices.DeleteFunc(r.Findings, func(f Finding) bool { return f.Area != "root" })
	if diff := cmp.Diff(rootFindings(host, cgroup.Available, false), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCheck_SilentCLI(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	f := Finding{Area: "backend", Name: "pi", OK: true, Detail: "/bin/sh"}
	f.version(ctx, config.Backend{Name: "pi", Kind: "pi", Command: []string{"/bin/sh"}})
	if f.OK || !f.Advice || f.Detail != "/bin/sh: its version is not known: no answer within 15s" {
		t.Errorf("%+v", f)
	}
}
