package spool

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestNotifier(t *testing.T) {
	n, err := NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "f")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var mine, other Broadcast
	wd, err := n.watch(f, &mine)
	if err != nil {
		t.Fatal(err)
	}
	closed, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if _, err := n.watch(closed, &other); err == nil {
		t.Error("a watch on nothing")
	}
	signal, quiet := mine.Wait(), other.Wait()
	if _, err := f.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	wait(t, "signal", signal)
	if isClosed(quiet) {
		t.Error("a broadcast of nothing was signalled")
	}
	overflow := make([]byte, unix.SizeofInotifyEvent)
	binary.NativeEndian.PutUint32(overflow, 0xffffffff)
	binary.NativeEndian.PutUint32(overflow[4:], unix.IN_Q_OVERFLOW)
	signal = mine.Wait()
	n.dispatch(overflow)
	if !isClosed(signal) {
		t.Error("lost events woke nothing")
	}
	if err := n.forget(wd); err != nil {
		t.Error(err)
	}
	if err := n.forget(wd); err != nil {
		t.Errorf("forgotten twice: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if _, err := n.watch(f, &mine); err == nil {
		t.Error("a closed notifier takes watches")
	}
}

func TestWatchFiles_FallsBackToPolling(t *testing.T) {
	n, err := NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	var p Broadcast
	stop := WatchFiles(n, &p, slog.New(slog.DiscardHandler), f)
	defer stop()
	signal := p.Wait()
	if _, err := f.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	wait(t, "signal", signal)
}

// A run that puts a link to another's output in place of its own gets neither the other's
// signals nor the other's watch.
func TestWatchFiles_GoByTheDescriptor(t *testing.T) {
	n, err := NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	dir := t.TempDir()
	watched := func(name string, b *Broadcast, meanwhile func(path string)) (f *os.File, stop func()) {
		path := filepath.Join(dir, name)
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		meanwhile(path)
		return f, WatchFiles(n, b, slog.New(slog.DiscardHandler), f)
	}
	write := func(f *os.File) {
		if _, err := f.WriteString("x"); err != nil {
			t.Fatal(err)
		}
	}
	var victim, thief Broadcast
	theirs, stop := watched("victim", &victim, func(string) {})
	defer stop()
	mine, stop := watched("thief", &thief, func(path string) {
		if err := errors.Join(os.Remove(path), os.Symlink(theirs.Name(), path)); err != nil {
			t.Fatal(err)
		}
	})
	signal, quiet := victim.Wait(), thief.Wait()
	write(theirs)
	wait(t, "signal of a write to the victim", signal)
	if isClosed(quiet) {
		t.Error("a write to the victim's output wakes the thief")
	}
	write(mine)
	wait(t, "signal of a write to the thief's own output", quiet)
	stop()
	signal = victim.Wait()
	write(theirs)
	wait(t, "signal of a write to the victim when the thief has gone", signal)
}

// wait bounds what should end soon.
func wait(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatalf("%s: not within a minute", what)
	}
}
