package pid1

import (
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestRead(t *testing.T) {
	const born = `{ "child-pid": 812, "mnt-namespace": 4026532177 }` + "\n"
	for _, c := range []struct {
		text string
		want Status
	}{
		{"", Status{}},
		{born[:20], Status{}},
		{born, Status{PID: 812}},
		{born + `{"started":9}` + "\n", Status{PID: 812, Started: true}},
		{born + `{"started":9,"pool":"/tmp"}` + "\n", Status{PID: 812, Started: true, Pool: "/tmp"}},
		{born + `{"started":9}` + "\n" + `{"ended":{"code":137}}`, Status{PID: 812, Started: true}}, // not whole
		{born + `{"started":9}` + "\n" + `{"ended":{"code":137}}` + "\n" + `{ "exit-code": 137 }` + "\n", Status{PID: 812, Started: true, Ended: true, Code: 137}},
		{born + `{"started":9}` + "\n" + `{"ended":{"code":-1,"signal":9,"survivors":3}}` + "\n", Status{PID: 812, Started: true, Ended: true, Code: -1, Signal: syscall.SIGKILL, Survivors: 3}},
		{born + `{ "exit-code": 137 }` + "\n", Status{PID: 812}}, // which says nothing of the CLI
		{born + `{"failed":{"step":"execute","missing":true,"errno":2,"message":"no"}}` + "\n", Status{PID: 812, Failed: &Failed{Step: "execute", Missing: true, Errno: syscall.ENOENT, Message: "no"}}},
	} {
		got, err := Read(strings.NewReader(c.text))
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q: %s", c.text, diff)
		}
	}
	if _, err := Read(strings.NewReader("bwrap: no\n")); err == nil {
		t.Error("a line that is no record was passed over")
	}
}

func TestJob(t *testing.T) {
	want := &Job{
		TakeUser: true, ReadonlyPaths: []string{"/proc/sys"},
		Process:  &specs.Process{Args: []string{"cli", "a\nb", "\xff", ""}, Env: []string{"SECRET=x", "ANY=\xe4\"<", "NONE="}, Cwd: "/work", User: specs.User{UID: 7, GID: 8, AdditionalGids: []uint32{9}}},
		Writable: &Writable{Pool: "/tmp", Places: []Place{{Path: "/tmp", Mode: 0o777}}, Moves: []Move{{From: "move0", To: "/tmp/x", File: true}}},
	}
	f, err := want.File()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("x"); err == nil {
		t.Error("a job can be changed")
	}
	got, err := readJob(f)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if c := got.child().User; c == nil || c.Uid != 7 || c.Gid != 8 || len(c.Groups) != 1 {
		t.Errorf("its user: %+v", c)
	}
	if len(want.Process.Args) != 4 || len(want.Process.Env) != 3 {
		t.Errorf("writing has changed it: %+v", want.Process)
	}
	got.TakeUser = false
	if c := got.child().User; c != nil {
		t.Errorf("it takes a user: %+v", c)
	}
	for _, p := range []*specs.Process{{Args: []string{"a\x00b"}}, {Args: []string{"a"}, Env: []string{"A=\x00"}}} {
		if _, err := (&Job{Process: p}).File(); err == nil {
			t.Errorf("%q: a NUL was taken", append(p.Args, p.Env...))
		}
	}
	empty, err := (&Job{Process: &specs.Process{Env: []string{"A=b"}}}).File()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readJob(empty); err == nil {
		t.Error("a job without a program was taken")
	}
}
