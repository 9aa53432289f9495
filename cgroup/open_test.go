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

	"penstock/cgroup/cgroupfs"
	"penstock/cgroup/root"
)

func TestOpen_Options(t *testing.T) {
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
func TestOpen_Strict(t *testing.T) {
	here := writableLocation(t)
	have, err := cgroupfs.Controllers(here.Own)
	if err != nil {
		t.Fatal(err)
	}
	name := uniqueName()
	r, err := Open(t.Context(), Options{Mode: Strict, Name: name})
	if len(cgroupfs.Missing(cgroupfs.Needed(), have)) == 0 {
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
	if _, err := os.Stat(filepath.Join(here.Own, name)); !os.IsNotExist(err) {
		t.Errorf("refused, but %s is there: %v", name, err)
	}
}

func TestTree_CloseRestoresTree(t *testing.T) {
	before := writableLocation(t)
	look := func() []string {
		on, err := cgroupfs.Enabled(before.Own)
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
	if want := filepath.Join(before.Own, name); r.Path() != want || r.Source() != "subtree" {
		t.Errorf("root %s from %s, want %s from subtree", r.Path(), r.Source(), want)
	}
	during, err := cgroupfs.FindLocation()
	if err != nil {
		t.Fatal(err)
	}
	if want := r.Path() + "/daemon"; during.Own != want {
		t.Errorf("the daemon is in %s, want %s", during.Own, want)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := cgroupfs.FindLocation()
	if err != nil {
		t.Fatal(err)
	}
	if after.Own != before.Own {
		t.Errorf("after Close the daemon is in %s, want %s", after.Own, before.Own)
	}
	if _, err := os.Stat(r.Path()); !os.IsNotExist(err) {
		t.Errorf("after Close %s is there: %v", r.Path(), err)
	}
	others, err := cgroupfs.Children(before.Own)
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

func TestTree_CloseEndsRuns(t *testing.T) {
	writableLocation(t)
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

// makeBareGroup makes a group below ours that no Root knows of.
func makeBareGroup(t *testing.T) *cgroupfs.Dir {
	t.Helper()
	here := writableLocation(t)
	path := filepath.Join(here.Own, uniqueName())
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := cgroupfs.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := within(t)
		if err := errors.Join(d.Kill(), d.WaitEmpty(ctx), cgroupfs.RemoveTree(ctx, path), d.Close()); err != nil {
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

func TestOpen_Unit(t *testing.T) {
	for _, sub := range []string{"", cgroupfs.DaemonLeaf} {
		t.Run("subgroup="+sub, func(t *testing.T) {
			unit := makeBareGroup(t)
			if err := unix.Setxattr(unit.Path, "user.delegate", []byte("1"), 0); err != nil {
				skipLacking(t, "extended attributes on cgroup2: "+err.Error())
			}
			in := unit
			if sub != "" {
				if err := os.Mkdir(unit.Path+"/"+sub, 0o755); err != nil {
					t.Fatal(err)
				}
				var err error
				if in, err = cgroupfs.OpenDir(unit.Path + "/" + sub); err != nil {
					t.Fatal(err)
				}
				defer in.Close()
			}
			v, o, stdin := daemonIn(t, in.FD(), "ignored")
			want := opened{Path: unit.Path, Source: "unit", Self: unit.Path + "/daemon"}
			if d := cmp.Diff(want, o); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			stdin.Close()
			if err := v.Wait(); err != nil {
				t.Errorf("close: %v", err)
			}
			if _, err := os.Stat(unit.Path + "/runs"); !os.IsNotExist(err) {
				t.Errorf("runs after Close: %v", err)
			}
		})
	}
}

// A daemon that was handed its root takes back what the one before it did: in
// its own subtree, and where a service manager gave the group.
func TestTree_HandoverRestoresTree(t *testing.T) {
	if have, err := cgroupfs.Controllers(writableLocation(t).Own); err == nil && len(cgroupfs.Missing(cgroupfs.Needed(), have)) == 0 {
		if err := enableForTest(t); err != nil {
			t.Fatal(err)
		}
	}
	for _, how := range []string{"again", "again, told nothing", "again, beside another"} {
		t.Run(how, func(t *testing.T) {
			base := makeBareGroup(t)
			v, o, stdin := daemonIn(t, base.FD(), uniqueName(), how)
			if o.Err != "" || o.Self != o.Path+"/daemon" {
				t.Fatalf("%+v", o)
			}
			stdin.Close()
			if err := v.Wait(); err != nil {
				t.Errorf("close: %v", err)
			}
			left, err := cgroupfs.Children(base.Path)
			if err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
			if on, err := cgroupfs.Enabled(base.Path); err != nil || len(on) > 0 {
				t.Errorf("controllers that are still on: %v, %v", on, err)
			}
		})
	}
	t.Run("unit", func(t *testing.T) {
		unit := makeBareGroup(t)
		if err := unix.Setxattr(unit.Path, "user.delegate", []byte("1"), 0); err != nil {
			skipLacking(t, "extended attributes on cgroup2: "+err.Error())
		}
		v, o, stdin := daemonIn(t, unit.FD(), "ignored", "again")
		if o.Err != "" || o.Self != unit.Path+"/daemon" {
			t.Fatalf("%+v", o)
		}
		stdin.Close()
		if err := v.Wait(); err != nil {
			t.Errorf("close: %v", err)
		}
		if left, err := cgroupfs.Children(unit.Path); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

// A second daemon with the same name is refused with the first one's pid, and
// the first loses nothing.
func TestOpen_SecondDaemon(t *testing.T) {
	base := makeBareGroup(t)
	name := uniqueName()
	first, one, stdin := daemonIn(t, base.FD(), name)
	if one.Err != "" {
		t.Fatal(one.Err)
	}
	if !slices.Contains(strings.Split(one.Self, "/"), name) {
		t.Fatalf("first daemon is in %s", one.Self)
	}
	// In a group with controllers for its children nothing can be born, so the
	// second looks from the real root or meets the first one's name by hand.
	err := cgroupfs.ClearLeaf(one.Self)
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), strconv.Itoa(first.Process.Pid)) {
		t.Errorf("error %v, want ErrBusy with pid %d", err, first.Process.Pid)
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
func TestOpen_ForeignProcs(t *testing.T) {
	if have, err := cgroupfs.Controllers(writableLocation(t).Own); err != nil || len(cgroupfs.Missing(cgroupfs.Needed(), have)) > 0 {
		skipLacking(t, "the memory and pids controllers in cgroup v2")
	}
	if err := enableForTest(t); err != nil {
		t.Fatal(err)
	}
	base := makeBareGroup(t)
	stranger := born(t, base.FD(), "sleep").ready(t)
	_, o, _ := daemonIn(t, base.FD(), uniqueName())
	if want := strconv.Itoa(stranger.Process.Pid); !strings.Contains(o.Err, "pids ["+want+"]") {
		t.Errorf("refusal %q doesn't name pid %s", o.Err, want)
	}
	if o.Self != base.Path {
		t.Errorf("after the refusal the daemon is in %s, want %s", o.Self, base.Path)
	}
	if left, err := cgroupfs.Children(base.Path); err != nil || len(left) > 0 {
		t.Errorf("after the refusal %v is left (%v)", left, err)
	}
}

// enableForTest gives hand made groups controllers, as systemd would have.
func enableForTest(t *testing.T) error {
	path := writableLocation(t).Own
	done, err := cgroupfs.Enable(path)
	t.Cleanup(func() {
		if err := cgroupfs.Disable(path, done); err != nil {
			t.Error(err)
		}
	})
	return err
}

func TestOpen_Budget(t *testing.T) {
	r := kernelRoot(t, func(o *Options) { o.Budget = 200<<20 + 1 })
	if got, want := content(t, r.runs.Path+"/memory.max"), strconv.Itoa(200<<20); got != want {
		t.Errorf("memory.max of runs %s, want %s", got, want)
	}
	if got := content(t, r.runs.Path+"/memory.swap.max"); got != "0" {
		t.Errorf("memory.swap.max of runs %s, want 0", got)
	}
	if got := content(t, r.runs.Path+"/cpu.max"); !strings.HasPrefix(got, "max ") {
		t.Errorf("cpu.max of runs %s, want none", got)
	}
	if on, err := cgroupfs.Enabled(r.runs.Path); err != nil || len(cgroupfs.Missing(on, cgroupfs.Wanted())) > 0 {
		t.Errorf("controllers below runs %v (%v), want at most %v", on, err, cgroupfs.Wanted())
	}
}

// The budget holds all runs together, whatever each may take alone.
func TestTree_BudgetKills(t *testing.T) {
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
func TestOpen_FreshLeaf(t *testing.T) {
	here := writableLocation(t)
	name := uniqueName()
	leaf := filepath.Join(here.Own, name, cgroupfs.DaemonLeaf)
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

func TestTree_Sweep(t *testing.T) {
	writableLocation(t)
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
	if d := cmp.Diff(SweepResult{Groups: 1, Processes: 1}, s); d != "" || err != nil {
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
