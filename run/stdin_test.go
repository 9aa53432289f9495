package run

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/outcome"
	"penstock/run/store"
)

// A CLI that an earlier daemon was talking to is told the rest, from within a
// line too, and nothing twice.
func TestStdinWriter_GoesOnWhereAnEarlierDaemonWas(t *testing.T) {
	for _, row := range []struct {
		done uint64 // bytes, by the earlier daemon
		rest string
	}{
		{0, "one\ntwo\n"}, {2, "e\ntwo\n"}, {4, "two\n"}, {7, "\n"},
	} {
		fifo, log := filepath.Join(t.TempDir(), "fifo"), filepath.Join(t.TempDir(), "said")
		if err := unix.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		listener, err := os.OpenFile(fifo, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		if err := os.WriteFile(log, binary.LittleEndian.AppendUint64(nil, row.done), 0o600); err != nil {
			t.Fatal(err)
		}
		known, err := store.OpenStdinLog(log, true)
		if err != nil {
			t.Fatal(err)
		}
		s, err := newStdinWriter(fifo, known)
		if err != nil {
			t.Fatal(err)
		}
		s.queue([][]byte{[]byte("one"), []byte("two")}) // the machine starts anew
		got := make([]byte, len(row.rest))
		if _, err := io.ReadFull(listener, got); err != nil || string(got) != row.rest {
			t.Errorf("after %d bytes the CLI was told %q, want %q: %v", row.done, got, row.rest, err)
		}
		s.close()
		next, err := store.OpenStdinLog(log, true)
		if err != nil || next.Written != int64(len("one\ntwo\n")) {
			t.Errorf("after %d bytes the next daemon is told %+v, %v", row.done, next, err)
		}
		next.Close()
	}
}

func TestStdinWriter_EndsInTheMiddleOfALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newStdinWriter(path, nil); err == nil {
		t.Fatal("a writer without a reader")
	}
	listener, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s, err := newStdinWriter(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.queue([][]byte{make([]byte, 1<<20)})
	if _, err := listener.Read(make([]byte, 1)); err != nil { // it is writing
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	closed := make(chan struct{})
	go func() { s.close(); close(closed) }()
	select {
	case <-closed:
	case <-ctx.Done():
		t.Fatal("close hangs on a line that is not read")
	}
	s.queue([][]byte{[]byte("late")})
	s.close()
}

func TestStdinWriter_PromptThatIsNotRead(t *testing.T) {
	m := open(t)
	r := start(t, m, script(`echo "f enough"; sleep 300`, func(s *Spec) {
		s.Backend = agent{talks: true}
		s.Request.Prompt = string(bytes.Repeat([]byte("x"), 8<<20))
	}))
	verdict(t, r, outcome.ProviderError)
}
