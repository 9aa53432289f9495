package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/cgroup/cgroupfs"
)

// A group of an earlier daemon that was adopted is not swept, and ends like any other.
func TestTree_AdoptNotSwept(t *testing.T) {
	r := openRoot(t)
	left := newGroup(t, r, "left", nil)
	child := born(t, left.FD(), "sleep").ready(t)
	// As a daemon finds it that has not made it.
	r.unregister(left)
	if _, err := r.Adopt("nobody", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a group that isn't there: %v, want ErrNotExist", err)
	}
	if _, err := r.Adopt("../daemon", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no run's name: %v, want ErrNotExist", err)
	}
	g, err := r.Adopt("left", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Adopt("left", nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("adopted twice: %v, want ErrExist", err)
	}
	s, err := r.Sweep(t.Context())
	if err != nil || s.Groups != 0 || s.Processes != 0 {
		t.Errorf("swept %+v, %v", s, err)
	}
	if populated, err := g.Populated(); err != nil || !populated {
		t.Fatalf("populated %v after the sweep, %v", populated, err)
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	end(t, g)
	if err := left.dir.Close(); err != nil {
		t.Error(err)
	}
}

// A start that comes to nothing ends what it has made and leaves what it found,
// limits included, in whatever way that was found.
func TestTree_Abandon(t *testing.T) {
	before := writableLocation(t)
	name := uniqueName()
	first, err := Open(t.Context(), Options{Mode: Available, Name: name, Budget: 256 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var left []*victim
	for _, id := range []string{"claimed", "unclaimed"} {
		left = append(left, born(t, newGroup(t, first, id, nil).FD(), "sleep").ready(t))
	}
	origin, err := first.Detach()
	if err != nil {
		t.Fatal(err)
	}
	second, err := Open(t.Context(), Options{Mode: Available, Name: name, Budget: 128 << 20, Origin: &origin})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Adopt("claimed", nil); err != nil {
		t.Fatal(err)
	}
	ours := newGroup(t, second, "ours", nil)
	own := born(t, ours.FD(), "sleep").ready(t)
	if err := second.Abandon(within(t)); err != nil {
		t.Error(err)
	}
	if s := own.signal(t); s != unix.SIGKILL {
		t.Errorf("its own run ended by %v", s)
	}
	if here, err := cgroupfs.FindLocation(); err != nil || here.Own != before.Own && cgroupfs.IsRealRoot(before.Own) {
		t.Errorf("the daemon is in %s, was in %s (%v)", here.Own, before.Own, err)
	}
	for _, v := range left {
		if err := unix.Kill(v.Process.Pid, 0); err != nil {
			t.Errorf("%d: %v", v.Process.Pid, err)
		}
	}
	if path := second.Path() + "/runs/memory.max"; first.Enforced().Memory == Kernel && content(t, path) != strconv.Itoa(256<<20) {
		t.Errorf("%s is %s", path, content(t, path))
	}
	third, err := Open(t.Context(), Options{Mode: Available, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"claimed", "unclaimed"} {
		if _, err := third.Adopt(id, nil); err != nil {
			t.Error(err)
		}
	}
	if err := third.Close(within(t)); err != nil {
		t.Error(err)
	}
	for _, v := range left {
		if s := v.signal(t); s != unix.SIGKILL {
			t.Errorf("ended by %v", s)
		}
	}
	if _, err := os.Stat(third.Path()); !os.IsNotExist(err) {
		t.Errorf("%s: %v", third.Path(), err)
	}
}

// A budget below what runs of an earlier daemon have ends none of them, and is in
// force once they have less.
func TestTree_LowerBudgetGrandfathers(t *testing.T) {
	const before = 1 << 30
	writableLocation(t)
	name := uniqueName()
	first, err := Open(t.Context(), Options{Mode: Available, Name: name, Budget: before})
	if err != nil {
		t.Fatal(err)
	}
	var left []*victim
	for _, id := range []string{"one", "two"} {
		left = append(left, born(t, newGroup(t, first, id, nil).FD(), "alloc", "40").ready(t))
	}
	var after int64 // more than one of them has, less than both: the race detector takes its share
	for ctx := within(t); after == 0; time.Sleep(10 * time.Millisecond) {
		if used, known, err := first.budgetUse(); err == nil && known && used > 80<<20 {
			after = int64(used/4*3) &^ 0xfff
		} else if ctx.Err() != nil {
			t.Fatalf("both have %d bytes, known %v: %v", used, known, err)
		}
	}
	origin, err := first.Detach()
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), Options{Mode: Available, Name: name, Budget: after, Origin: &origin})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(within(t)); err != nil {
			t.Error(err)
		}
	}()
	inForce := func() bool {
		if r.enforced.Memory == Kernel {
			return runsHave(t, r, "memory.max") == strconv.FormatInt(after, 10)
		}
		return r.enforcer.budget.Load() == uint64(after)
	}
	until := func(what string, done func() bool) {
		t.Helper()
		for ctx := within(t); !done(); time.Sleep(10 * time.Millisecond) {
			if ctx.Err() != nil {
				t.Fatal("never: " + what)
			}
			if _, err := r.Follow(); err != nil {
				t.Fatal(err)
			}
		}
	}
	two, err := r.Adopt("two", nil)
	if err != nil {
		t.Fatal(err)
	}
	one, err := r.Adopt("one", nil)
	if err != nil {
		t.Fatal(err)
	}
	until("both are seen", func() bool {
		used, known, err := r.budgetUse()
		return err == nil && known && used > uint64(after)
	})
	for range 5 {
		if _, err := r.Follow(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(enforceEvery)
	}
	for _, g := range []*Group{one, two} {
		if lives, err := g.Populated(); err != nil || !lives {
			t.Fatalf("%s: populated %v, %v", g.id, lives, err)
		}
	}
	if inForce() {
		t.Error("the budget is in force while runs have more")
	}
	if err := two.Kill(); err != nil {
		t.Fatal(err)
	}
	if s := left[1].signal(t); s != unix.SIGKILL {
		t.Errorf("ended by %v", s)
	}
	end(t, two)
	until("the budget is in force", inForce)
	if lives, err := one.Populated(); err != nil || !lives {
		t.Errorf("the one that is left: populated %v, %v", lives, err)
	}
	end(t, one)
	if s := left[0].signal(t); s != unix.SIGKILL {
		t.Errorf("ended by %v", s)
	}
}
