package spool

import (
	"encoding/binary"
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
	wd, err := n.watch(path, &mine)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.watch(filepath.Dir(path)+"/none", &other); err == nil {
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
	if _, err := n.watch(path, &mine); err == nil {
		t.Error("a closed notifier takes watches")
	}
}

func TestWatchFiles_FallsBackToPolling(t *testing.T) {
	n, err := NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	var p Broadcast
	stop := WatchFiles(n, &p, slog.New(slog.DiscardHandler), path)
	defer stop()
	signal := p.Wait()
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	wait(t, "signal", signal)
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
