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
		s, err := newStdinWriter(fifo, known, nil)
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

// A daemon was killed about a write that it had noted: what the CLI has not read tells whether it was
// done, and where that tells nothing the run is lost, not told a line with a hole.
func TestStdinWriter_KilledAboutAWrite(t *testing.T) {
	const line = "a prompt of some length that is told in two writes"
	const first, second = 20, 15
	for name, row := range map[string]struct {
		line, held string // held: what the CLI has not read
		rest       string // that it is told; "" is none, it is lost
	}{
		"it was written":         {line, line[:first+second], line[first+second:] + "\n"},
		"it was, and half read":  {line, line[first+5 : first+second], line[first+second:] + "\n"},
		"it was not":             {line, line[:first], line[first:] + "\n"},
		"it was not, half read":  {line, line[5:first], line[first:] + "\n"},
		"all has been read":      {line, "", ""},
		"both would look alike":  {string(bytes.Repeat([]byte("x"), 50)), "xxxxxxxxxx", ""},
		"it is not its own line": {line[:first+3], line[:first], ""},
	} {
		t.Run(name, func(t *testing.T) {
			fifo, log := filepath.Join(t.TempDir(), "fifo"), filepath.Join(t.TempDir(), "said")
			if err := unix.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			listener, err := os.OpenFile(fifo, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			if _, err := io.WriteString(listener, row.held); err != nil {
				t.Fatal(err)
			}
			noted := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, first+second), first)
			if err := os.WriteFile(log, noted, 0o600); err != nil {
				t.Fatal(err)
			}
			known, err := store.OpenStdinLog(log, true)
			if err != nil {
				t.Fatal(err)
			}
			lost := make(chan struct{})
			s, err := newStdinWriter(fifo, known, func() { close(lost) })
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			s.queue([][]byte{[]byte(row.line)})
			if row.rest == "" {
				select {
				case <-lost:
				case <-time.After(10 * time.Second):
					t.Error("it goes on")
				}
				return
			}
			// Read when all is there: what is read before tells the writer nothing.
			for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
				if there, err := peekPipe(fifo); err != nil || len(there) == len(row.held)+len(row.rest) || isClosed(lost) {
					break
				}
			}
			if isClosed(lost) {
				t.Fatal("it is lost")
			}
			got := make([]byte, len(row.held)+len(row.rest))
			if _, err := io.ReadFull(listener, got); err != nil || string(got) != row.held+row.rest {
				t.Errorf("%q, want %q: %v", got, row.held+row.rest, err)
			}
		})
	}
}

func TestStdinWriter_EndsInTheMiddleOfALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newStdinWriter(path, nil, nil); err == nil {
		t.Fatal("a writer without a reader")
	}
	listener, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s, err := newStdinWriter(path, nil, nil)
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
