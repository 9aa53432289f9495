package run

import (
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

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
