package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/outcome"
	"penstock/run/store"
	"penstock/spawn"
)

// fakeDisk is a file system of so many bytes, which holds the state directory and what
// others have.
type fakeDisk struct{ size, others atomic.Int64 }

func (d *fakeDisk) roomAt(dir string, minFree int64) (Room, bool) {
	used := d.others.Load()
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if info, statErr := os.Lstat(path); err == nil && statErr == nil && info.Mode().IsRegular() {
			used += info.Size()
		}
		return nil
	})
	r := Room{Free: uint64(max(0, d.size.Load()-used)), Least: uint64(minFree)}
	if r.Free < r.Least {
		r.Low = fmt.Sprintf("%d are free", r.Free)
	}
	return r, true
}

// What finished runs hold goes, the oldest first and no more than is needed, before
// a start; what still lacks then is shown.
func TestRoom_FinishedRunsMakeIt(t *testing.T) {
	var d fakeDisk
	d.size.Store(100 << 20)
	m := open(t, func(o *Options) { o.MinFree, o.roomAt = 4<<20, d.roomAt })
	var runs []*Run
	for range 4 {
		r := start(t, m, script("head -c 4000000 /dev/zero | tr '\\0' x; echo done"))
		wait(t, "its end", r.Ended())
		wait(t, "its group's removal", r.done)
		runs = append(runs, r)
	}
	known := func() (n int) {
		for _, r := range runs {
			if _, err := m.Get(r.ID()); err == nil {
				n++
			}
		}
		return n
	}
	m.checkRoom()
	if room := m.Room(); room == nil || room.Low != "" || known() != 4 {
		t.Fatalf("room %+v, %d runs known, want all four", room, known())
	}
	d.others.Store(100<<20 - 17<<20) // less than a MiB is left beside the four
	m.checkRoom()
	if room := m.Room(); room == nil || room.Low == "" || known() != 4 {
		t.Errorf("room %+v, %d runs known: want what has just ended spared", room, known())
	}
	for _, r := range runs {
		aged(t, m, r.ID(), 2*spareMax)
	}
	m.checkRoom()
	if room := m.Room(); room == nil || room.Low != "" || known() != 3 {
		t.Errorf("room %+v, %d runs known, want the oldest gone and no other", room, known())
	}
	if _, err := m.Get(runs[0].ID()); err == nil {
		t.Error("the oldest run is still there")
	}
	d.others.Store(100 << 20)
	m.checkRoom()
	if room := m.Room(); room == nil || room.Low == "" || known() != 0 {
		t.Errorf("room %+v, %d runs known: want none, and what lacks shown", room, known())
	}
}

// The disk refuses several starts at once: what the first has removed is room for all.
func TestRoom_MadeForAnotherStart(t *testing.T) {
	m := open(t)
	r := start(t, m, script("echo done"))
	wait(t, "its group's removal", r.done)
	full := fmt.Errorf("write: %w", unix.ENOSPC)
	const starts = 4
	var refused sync.WaitGroup
	refused.Add(starts)
	tries, errs := [starts]int{}, make(chan error, starts)
	for i := range starts {
		go func() {
			errs <- m.launchWithRoom(func() error {
				if tries[i]++; tries[i] > 1 {
					return nil
				}
				refused.Done()
				refused.Wait()
				return full
			})
		}()
	}
	for range starts {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if err := m.launchWithRoom(func() error { return full }); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("%v where nothing is left to remove", err)
	}
}

// A file system that doesn't answer is no lack of room, and is asked once at a time.
func TestRoom_Unknown(t *testing.T) {
	hung, asked := make(chan struct{}), atomic.Int32{}
	m := open(t, func(o *Options) {
		o.roomAt = func(string, int64) (Room, bool) {
			asked.Add(1)
			<-hung
			return Room{}, false
		}
	})
	for range 2 {
		m.checkRoom()
		if m.Room() != nil {
			t.Errorf("room %+v of a file system that doesn't answer", m.Room())
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	close(hung)
}

// A directory that every start needs has gone, be it the store in a runtime directory
// that a logout removes: that is shown before a start fails.
func TestRoom_PlacesThatWereRemoved(t *testing.T) {
	for _, which := range []func(*store.StateDir) string{(*store.StateDir).Runs, func(s *store.StateDir) string { return s.Store.Runs() }} {
		m := open(t)
		m.checkRoom()
		if room := m.Room(); room == nil || room.Removed {
			t.Errorf("room %+v with all in its place", room)
		}
		dir := which(m.state)
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		m.checkRoom()
		if room := m.Room(); room == nil || !room.Removed {
			t.Errorf("room %+v without %s", room, dir)
		}
		if err := os.Rename(dir+".away", dir); err != nil {
			t.Fatal(err)
		}
	}
}

// A file system that has become read-only refuses each start: that is shown from the first
// refusal on, and until a file can be made again.
func TestRoom_ReadOnly(t *testing.T) {
	m := open(t)
	look := func() string {
		m.checkRoom()
		if room := m.Room(); room != nil {
			return room.Broken
		}
		return "unknown"
	}
	dir := m.state.Path
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("nothing can be mounted here: %v", err)
	}
	mounted := true
	unmount := func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
		mounted = false
	}
	defer func() {
		if mounted {
			unmount()
		}
	}()
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Start(t.Context(), script("echo never")); !errors.Is(err, unix.EROFS) {
		t.Fatalf("a start: %v", err)
	}
	if got := look(); !strings.Contains(got, "read-only") {
		t.Errorf("shown: %q", got)
	}
	unmount()
	if got := look(); got != "" {
		t.Errorf("shown of one that takes files again: %q", got)
	}
}

func TestRoom_WhatWantsIt(t *testing.T) {
	full := fmt.Errorf("write: %w", unix.ENOSPC)
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false}, {full, true}, {fmt.Errorf("x: %w", unix.EDQUOT), true}, {errors.New("else"), false},
		{&spawn.StartError{Cause: outcome.StartFailed, Err: full}, false},
	} {
		if got := wantsRoom(tt.err); got != tt.want {
			t.Errorf("%v: %v", tt.err, got)
		}
	}
	if room, ok := roomAt(t.TempDir(), 0); !ok || room.Low != "" || room.Free == 0 {
		t.Errorf("without a mark: %+v, %v", room, ok)
	}
	if room, ok := roomAt(t.TempDir(), 1<<62); ok && (room.Low == "") != (room.Free >= room.Least) || strings.Contains(room.Low, "-") {
		t.Errorf("a tenth at most: %+v", room)
	}
	if _, ok := roomAt("/nowhere", 1); ok {
		t.Error("an answer of no file system")
	}
}
