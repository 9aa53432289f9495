package cgroup

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestOpenChecksOptions(t *testing.T) {
	for _, o := range []Options{
		{Mode: "loose", Name: "x"},
		{Mode: Strict, Name: ""},
		{Mode: Strict, Name: "../x"},
		{Mode: Strict, Name: "daemon"},
		{Mode: Strict, Name: "x", Budget: 1 << 20},
		{Mode: Strict, Name: "x", Budget: -1},
	} {
		if _, err := Open(t.Context(), o); err == nil || errors.Is(err, ErrUnsupported) {
			t.Errorf("%+v: error %v, want one about the options", o, err)
		}
	}
}

// Strict is all or nothing: where the kernel can't hold memory and pids it
// names every way it tried and touches nothing.
func TestStrictNeedsControllers(t *testing.T) {
	here := writablePlace(t)
	have, err := controllers(here.own)
	if err != nil {
		t.Fatal(err)
	}
	name := uniqueName()
	r, err := Open(t.Context(), Options{Mode: Strict, Name: name})
	if len(missing(needed, have)) == 0 {
		if err != nil {
			t.Fatal(err)
		}
		if r.Enforced() != (Enforced{Memory: Kernel, Pids: Kernel, Kill: Kernel, CPU: Kernel}) {
			t.Errorf("enforced %+v, want the kernel throughout", r.Enforced())
		}
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
		return
	}
	if !errors.Is(err, ErrUnsupported) {
		t.Fatalf("error %v, want ErrUnsupported", err)
	}
	for _, want := range []string{"unit: ", "Delegate=yes", "subtree: ", "memory", "pids", "systemd.unified_cgroup_hierarchy=1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("refusal %q doesn't say %q", err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(here.own, name)); !os.IsNotExist(err) {
		t.Errorf("refused, but %s is there: %v", name, err)
	}
}

func TestCloseLeavesTheTreeAsItWas(t *testing.T) {
	before := writablePlace(t)
	look := func() []string {
		on, err := enabled(before.own)
		if err != nil {
			t.Fatal(err)
		}
		return on
	}
	on := look()
	name := uniqueName()
	r, err := Open(t.Context(), Options{Mode: Available, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(before.own, name); r.Path() != want || r.Source() != "subtree" {
		t.Errorf("root %s from %s, want %s from subtree", r.Path(), r.Source(), want)
	}
	during, err := findPlace()
	if err != nil {
		t.Fatal(err)
	}
	if want := r.Path() + "/daemon"; during.own != want {
		t.Errorf("the daemon is in %s, want %s", during.own, want)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := findPlace()
	if err != nil {
		t.Fatal(err)
	}
	if after.own != before.own {
		t.Errorf("after Close the daemon is in %s, want %s", after.own, before.own)
	}
	if _, err := os.Stat(r.Path()); !os.IsNotExist(err) {
		t.Errorf("after Close %s is there: %v", r.Path(), err)
	}
	others, err := children(before.own)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(on, look()); d != "" && len(others) == 0 {
		t.Errorf("controllers after Close (-before +after):\n%s", d)
	}
	if _, err := r.NewGroup("late", nil); err == nil {
		t.Error("NewGroup works on a closed root")
	}
}

func TestCloseEndsLiveRuns(t *testing.T) {
	writablePlace(t)
	r, err := Open(t.Context(), Options{Mode: Available, Name: uniqueName()})
	if err != nil {
		t.Fatal(err)
	}
	g := newGroup(t, r, "live", nil)
	v := born(t, g.FD(), "sleep").ready(t)
	if err := r.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	if s := v.signal(t); s != unix.SIGKILL {
		t.Errorf("run ended by %v, want SIGKILL", s)
	}
	<-g.Gone()
}

// handMade makes a group below ours that no Root knows of.
func handMade(t *testing.T) *dir {
	t.Helper()
	here := writablePlace(t)
	path := filepath.Join(here.own, uniqueName())
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := openDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := within(t)
		if err := errors.Join(d.kill(), d.waitEmpty(ctx), removeTree(ctx, path), d.close()); err != nil {
			t.Error(err)
		}
	})
	return d
}

// daemonIn starts the "daemon" role in a group; closing stdin makes it close
// its root and exit.
func daemonIn(t *testing.T, fd int, args ...string) (*victim, opened, io.Closer) {
	t.Helper()
	c := self("daemon", args...)
	if fd >= 0 {
		c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
	}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	v := start(t, c)
	var o opened
	if err := json.Unmarshal([]byte(v.line(t)), &o); err != nil {
		t.Fatal(err)
	}
	return v, o, in
}

func TestUnitRoot(t *testing.T) {
	for _, sub := range []string{"", daemonLeaf} {
		t.Run("subgroup="+sub, func(t *testing.T) {
			unit := handMade(t)
			if err := unix.Setxattr(unit.path, "user.delegate", []byte("1"), 0); err != nil {
				lacks(t, "extended attributes on cgroup2: "+err.Error())
			}
			in := unit
			if sub != "" {
				if err := os.Mkdir(unit.path+"/"+sub, 0o755); err != nil {
					t.Fatal(err)
				}
				var err error
				if in, err = openDir(unit.path + "/" + sub); err != nil {
					t.Fatal(err)
				}
				defer in.close()
			}
			v, o, stdin := daemonIn(t, in.fd(), "ignored")
			want := opened{Path: unit.path, Source: "unit", Self: unit.path + "/daemon"}
			if d := cmp.Diff(want, o); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			stdin.Close()
			if err := v.Wait(); err != nil {
				t.Errorf("close: %v", err)
			}
			if _, err := os.Stat(unit.path + "/runs"); !os.IsNotExist(err) {
				t.Errorf("runs after Close: %v", err)
			}
		})
	}
}

// A daemon that was handed its root takes back what the one before it did: in
// its own subtree, and where a service manager gave the group.
func TestHandedOverRootLeavesTheTreeAsItWas(t *testing.T) {
	if have, err := controllers(writablePlace(t).own); err == nil && len(missing(needed, have)) == 0 {
		if err := enableForTest(t); err != nil {
			t.Fatal(err)
		}
	}
	for _, how := range []string{"again", "again, told nothing", "again, beside another"} {
		t.Run(how, func(t *testing.T) {
			base := handMade(t)
			v, o, stdin := daemonIn(t, base.fd(), uniqueName(), how)
			if o.Err != "" || o.Self != o.Path+"/daemon" {
				t.Fatalf("%+v", o)
			}
			stdin.Close()
			if err := v.Wait(); err != nil {
				t.Errorf("close: %v", err)
			}
			left, err := children(base.path)
			if err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
			if on, err := enabled(base.path); err != nil || len(on) > 0 {
				t.Errorf("controllers that are still on: %v, %v", on, err)
			}
		})
	}
	t.Run("unit", func(t *testing.T) {
		unit := handMade(t)
		if err := unix.Setxattr(unit.path, "user.delegate", []byte("1"), 0); err != nil {
			lacks(t, "extended attributes on cgroup2: "+err.Error())
		}
		v, o, stdin := daemonIn(t, unit.fd(), "ignored", "again")
		if o.Err != "" || o.Self != unit.path+"/daemon" {
			t.Fatalf("%+v", o)
		}
		stdin.Close()
		if err := v.Wait(); err != nil {
			t.Errorf("close: %v", err)
		}
		if left, err := children(unit.path); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

// A second daemon with the same name is refused with the first one's pid, and
// the first loses nothing.
func TestSecondDaemonIsRefused(t *testing.T) {
	base := handMade(t)
	name := uniqueName()
	first, one, stdin := daemonIn(t, base.fd(), name)
	if one.Err != "" {
		t.Fatal(one.Err)
	}
	if !slices.Contains(strings.Split(one.Self, "/"), name) {
		t.Fatalf("first daemon is in %s", one.Self)
	}
	// In a group with controllers for its children nothing can be born, so the
	// second looks from the real root or meets the first one's name by hand.
	err := clearLeaf(one.Self)
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), strconv.Itoa(first.Process.Pid)) {
		t.Errorf("error %v, want ErrBusy with pid %d", err, first.Process.Pid)
	}
	r := &Root{path: one.Path}
	if err := r.makeRoot(site{path: one.Path, parent: base.path}); !errors.Is(err, ErrBusy) || r.origin.Made {
		t.Errorf("second daemon: error %v and %+v to take back, want ErrBusy and nothing", err, r.origin)
	}
	if _, err := os.Stat(one.Path + "/runs"); err != nil {
		t.Errorf("the first daemon lost its runs: %v", err)
	}
	stdin.Close()
	if err := first.Wait(); err != nil {
		t.Errorf("first daemon's close: %v", err)
	}
}

// Controllers can't be enabled in a group that others live in: the refusal
// names them and the tree is as before.
func TestStrangersInOurGroup(t *testing.T) {
	if have, err := controllers(writablePlace(t).own); err != nil || len(missing(needed, have)) > 0 {
		lacks(t, "the memory and pids controllers in cgroup v2")
	}
	if err := enableForTest(t); err != nil {
		t.Fatal(err)
	}
	base := handMade(t)
	stranger := born(t, base.fd(), "sleep").ready(t)
	_, o, _ := daemonIn(t, base.fd(), uniqueName())
	if want := strconv.Itoa(stranger.Process.Pid); !strings.Contains(o.Err, "pids ["+want+"]") {
		t.Errorf("refusal %q doesn't name pid %s", o.Err, want)
	}
	if o.Self != base.path {
		t.Errorf("after the refusal the daemon is in %s, want %s", o.Self, base.path)
	}
	if left, err := children(base.path); err != nil || len(left) > 0 {
		t.Errorf("after the refusal %v is left (%v)", left, err)
	}
}

// enableForTest gives hand made groups controllers, as systemd would have.
func enableForTest(t *testing.T) error {
	path := writablePlace(t).own
	done, err := enable(path)
	t.Cleanup(func() {
		if err := disable(path, done); err != nil {
			t.Error(err)
		}
	})
	return err
}

func TestRunsCarryTheBudget(t *testing.T) {
	r := kernelRoot(t, func(o *Options) { o.Budget = 200<<20 + 1 })
	if got, want := content(t, r.runs.path+"/memory.max"), strconv.Itoa(200<<20); got != want {
		t.Errorf("memory.max of runs %s, want %s", got, want)
	}
	if got := content(t, r.runs.path+"/memory.swap.max"); got != "0" {
		t.Errorf("memory.swap.max of runs %s, want 0", got)
	}
	if got := content(t, r.runs.path+"/cpu.max"); !strings.HasPrefix(got, "max ") {
		t.Errorf("cpu.max of runs %s, want none", got)
	}
	if on, err := enabled(r.runs.path); err != nil || len(missing(on, wanted)) > 0 {
		t.Errorf("controllers below runs %v (%v), want at most %v", on, err, wanted)
	}
}

// The budget holds all runs together, whatever each may take alone.
func TestBudgetEndsARun(t *testing.T) {
	r := kernelRoot(t, func(o *Options) { o.Budget = 96 << 20 })
	one, two := newGroup(t, r, "one", nil), newGroup(t, r, "two", nil)
	born(t, one.FD(), "alloc", "24").ready(t)
	hog := born(t, two.FD(), "alloc", "200")
	if s := hog.signal(t); s != unix.SIGKILL {
		t.Fatalf("hog ended by %v, want SIGKILL", s)
	}
	rec := end(t, two)
	if rec.OOMKills == nil || *rec.OOMKills == 0 {
		t.Errorf("oom_kill of the hog: %v, want some", rec.OOMKills)
	}
	if busy, err := one.Populated(); err != nil || !busy {
		t.Errorf("the small run: populated %v (%v), want alive", busy, err)
	}
	end(t, one)
}

// A leaf a daemon before us was killed in must not become ours: our children
// would die at birth on kernels with the kill_seq fault.
func TestDaemonLeafIsFresh(t *testing.T) {
	here := writablePlace(t)
	name := uniqueName()
	leaf := filepath.Join(here.own, name, daemonLeaf)
	if err := os.MkdirAll(leaf, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(leaf+"/cgroup.kill", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	r := openRoot(t, func(o *Options) { o.Name = name })
	g := newGroup(t, r, "first", nil)
	if err := born(t, g.FD(), "quit").Wait(); err != nil {
		t.Errorf("first child: %v, want it to live", err)
	}
	end(t, g)
}

func TestSweepAfterACrash(t *testing.T) {
	writablePlace(t)
	name := uniqueName()
	v, o, _ := daemonIn(t, -1, name, "run")
	if o.Err != "" {
		t.Fatal(o.Err)
	}
	if err := v.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	v.Wait()
	r := openRoot(t, func(o *Options) { o.Name = name })
	ours := newGroup(t, r, "ours", nil)
	if _, err := r.NewGroup("left", nil); err == nil {
		t.Error("a leftover group was taken for a new one")
	}
	s, err := r.Sweep(within(t))
	if d := cmp.Diff(Swept{Groups: 1, Processes: 1}, s); d != "" || err != nil {
		t.Errorf("sweep: %v, (-want +got):\n%s", err, d)
	}
	if _, err := os.Stat(o.Group); !os.IsNotExist(err) {
		t.Errorf("leftover %s: %v, want not exist", o.Group, err)
	}
	if _, err := ours.Populated(); err != nil {
		t.Errorf("sweep took a group of ours: %v", err)
	}
	if s, err := r.Sweep(context.Background()); err != nil || s.Groups != 0 {
		t.Errorf("second sweep %+v, %v, want nothing", s, err)
	}
	end(t, newGroup(t, r, "left", nil))
}
