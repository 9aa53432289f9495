package spawn

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/cgroup"
	"penstock/internal/procinfo"
	"penstock/outcome"
)

// A Spawner that leaves takes nothing with it: the next one in the same process
// has the trees as its children, and their exit statuses, also of one that
// ended in between.
func TestDetach_AdoptedAsChildren(t *testing.T) {
	dir := t.TempDir()
	before := open(t, false)
	start := func(id, script string) *Process {
		t.Helper()
		p, err := before.Start(t.Context(), Command{ID: id, Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=" + os.Getenv("PATH")}, Dir: "/"})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	until := func(file, then string) string {
		return "while [ ! -e " + dir + "/" + file + " ]; do sleep 0.02; done; " + then
	}
	later, between, asked := start("later", until("later", "exit 3")), start("between", until("between", "kill -TERM $$")), start("asked", "sleep 60")
	ending := start("ending", "sleep 60")
	ending.End(outcome.Cancelled)
	if ending.Detach() {
		t.Error("a tree whose end has begun was left")
	}
	awaitProcess(t, ending)
	for _, p := range []*Process{later, between, asked} {
		if !p.Detach() {
			t.Fatal("a tree that lives was not left")
		}
		p.End(outcome.Cancelled)
		p.Finish(false)
	}
	if _, err := before.Detach(); err != nil {
		t.Fatal(err)
	}
	touch(t, dir+"/between")
	eventually(t, "the end in between", func() bool {
		stat, err := procinfo.Host.Stat(between.PID())
		return err == nil && stat.State == "Z"
	})

	var keep []Leftover
	for _, p := range []*Process{later, between, asked} {
		keep = append(keep, Leftover{ID: p.cmd.ID})
	}
	after, err := Open(t.Context(), Options{
		Cgroup: cgroup.Options{Mode: mode(), Name: rootName(), Logger: slog.New(slog.DiscardHandler)}, Keep: keep,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := after.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(after.root.Path()); mode() == cgroup.Available && err == nil {
			t.Errorf("%s is still there", after.root.Path())
		}
	}()
	adopt := func(p *Process) *Process {
		t.Helper()
		q, err := after.Adopt(Command{ID: p.cmd.ID}, p.PID(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if q.PID() != p.PID() {
			t.Errorf("%s: pid %d was %d", p.cmd.ID, q.PID(), p.PID())
		}
		return q
	}
	l, b, a := adopt(later), adopt(between), adopt(asked)
	touch(t, dir+"/later")
	a.End(outcome.Cancelled)
	for _, p := range []*Process{l, b, a} {
		awaitProcess(t, p)
		if !reaped(p.PID()) {
			t.Errorf("%s was not reaped", p.cmd.ID)
		}
	}
	if e := l.Outcome().Exit; !e.Known || e.Code != 3 {
		t.Errorf("exit %+v, want status 3", e)
	}
	if e := b.Outcome().Exit; !e.Known || e.Signal.String() != "terminated" {
		t.Errorf("exit %+v, want SIGTERM", e)
	}
	if o := a.Outcome(); o.Reason != outcome.Cancelled || !o.Exit.Known {
		t.Errorf("ended when asked: %+v", o)
	}
}

// What is not claimed of what was left is ended, and leaves no zombie: it is this
// process's child.
func TestDetach_UnclaimedAreReaped(t *testing.T) {
	before := open(t, false)
	p, err := before.Start(t.Context(), Command{ID: "unwanted", Argv: []string{"/bin/sh", "-c", "sleep 600"}, Env: []string{"PATH=" + os.Getenv("PATH")}, Dir: "/"})
	if err != nil {
		t.Fatal(err)
	}
	if !p.Detach() {
		t.Fatal("not left")
	}
	if _, err := before.Detach(); err != nil {
		t.Fatal(err)
	}
	after, err := Open(t.Context(), Options{
		Cgroup: cgroup.Options{Mode: mode(), Name: rootName(), Logger: slog.New(slog.DiscardHandler)},
		Keep:   []Leftover{{ID: "unwanted", Leader: p.PID()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := after.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	after.EndUnclaimed()
	eventually(t, "the end of what is not claimed", func() bool { return reaped(p.PID()) })
}

// reaped is false for a zombie, too.
func reaped(pid int) bool { return errors.Is(unix.Kill(pid, 0), unix.ESRCH) }

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
