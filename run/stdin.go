package run

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"penstock/internal/openat"
	"penstock/run/store"
)

// pipeBuf is what a FIFO takes whole or not at all (PIPE_BUF, pipe(7)).
const pipeBuf = 4096

// stdinWriter writes a machine's lines to a conversational CLI, in order, while
// the CLI takes its time: a prompt may be a hundred times what the FIFO holds.
// A nil stdinWriter is one for a CLI that isn't spoken to.
type stdinWriter struct {
	fifo *os.File
	log  *store.StdinLog
	skip int64 // bytes that an earlier daemon has written
	// unsure are those after them that it may have written, as one; lost is called where that can't
	// be told: what the CLI is told from then on would be no request.
	unsure int64
	lost   func()
	path   string // of the FIFO
	done   chan struct{}

	mu    sync.Mutex
	lines [][]byte
	more  chan struct{} // has room for one
	over  bool
}

// newStdinWriter needs the FIFO to be open for reading elsewhere. What the log tells
// was written already is left out; the log is the writer's to close, also when it fails.
func newStdinWriter(path string, log *store.StdinLog, lost func()) (*stdinWriter, error) {
	f, err := openat.Kind(path, os.O_WRONLY, os.ModeNamedPipe)
	if err != nil {
		log.Close()
		return nil, fmt.Errorf("speak to the CLI: %w", err)
	}
	w := &stdinWriter{fifo: f, log: log, lost: lost, path: path, done: make(chan struct{}), more: make(chan struct{}, 1)}
	if log != nil {
		w.skip, w.unsure = log.Written, log.Unsure
	}
	go w.loop()
	return w, nil
}

// queue queues lines, LF added; it never blocks.
func (w *stdinWriter) queue(lines [][]byte) {
	if w == nil || len(lines) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	for _, line := range lines {
		w.lines = append(w.lines, append(line[:len(line):len(line)], '\n'))
	}
	w.wake()
}

func (w *stdinWriter) wake() {
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// close ends it at once, also in the middle of a line that is not read.
func (w *stdinWriter) close() {
	if w == nil {
		return
	}
	w.mu.Lock()
	w.over = true
	w.wake()
	w.mu.Unlock()
	// The error of a FIFO already closed by the writer is of no use.
	_ = w.fifo.SetWriteDeadline(time.Unix(1, 0))
	<-w.done
}

func (w *stdinWriter) loop() {
	defer close(w.done)
	defer w.fifo.Close()
	defer w.log.Close()
	for range w.more {
		lines, over := w.take()
		for i, line := range lines {
			if err := w.write(line); err != nil {
				w.drop()
				return
			}
			lines[i] = nil // the others may take as long, and this one is large
		}
		if over {
			return
		}
	}
}

// write writes one line, or what of it wasn't written before.
func (w *stdinWriter) write(line []byte) error {
	known := min(w.skip, int64(len(line)))
	w.skip -= known
	if w.unsure > 0 && known < int64(len(line)) {
		done, err := w.findOut(line, known)
		if err != nil {
			w.lost()
			return err
		}
		known += done
	}
	for line = line[known:]; len(line) > 0; {
		n, err := w.writeOnce(line[:min(len(line), pipeBuf)])
		if err != nil {
			return err
		}
		line = line[n:]
	}
	return nil
}

// findOut tells how many of the unsure bytes, of which the line has all behind its known ones, were
// written: all or none.
func (w *stdinWriter) findOut(line []byte, known int64) (done int64, err error) {
	end := known + w.unsure
	if end > int64(len(line)) {
		return 0, fmt.Errorf("speak to the CLI: %d bytes noted that are not in its line", w.unsure)
	}
	held, err := peekPipe(w.path)
	if err != nil {
		return 0, fmt.Errorf("speak to the CLI: look at what it has not read: %w", err)
	}
	with, without := endsAlike(held, line[:end]), endsAlike(held, line[:known])
	if with == without { // it has read all, or what it has not read looks alike
		return 0, errors.New("speak to the CLI: an earlier daemon was killed in the middle of telling it, and how far that came can't be told")
	}
	if with {
		done = w.unsure
	}
	w.unsure = 0
	return done, w.log.Commit(int(done))
}

// endsAlike tells whether what is in a pipe, as much as there is of both, is the end of a text. An
// empty pipe says nothing.
func endsAlike(held, text []byte) bool {
	n := min(len(held), len(text))
	return n > 0 && bytes.Equal(held[len(held)-n:], text[len(text)-n:])
}

// peekPipe is what a FIFO holds, which stays in it (tee(2)).
func peekPipe(path string) ([]byte, error) {
	from, err := openat.Kind(path, os.O_RDONLY|unix.O_NONBLOCK, os.ModeNamedPipe)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	size, err := unix.FcntlInt(from.Fd(), unix.F_GETPIPE_SZ, 0)
	if err == nil {
		_, err = unix.FcntlInt(write.Fd(), unix.F_SETPIPE_SZ, size)
	}
	if err == nil {
		_, err = unix.Tee(int(from.Fd()), int(write.Fd()), size, unix.SPLICE_F_NONBLOCK)
		if errors.Is(err, unix.EAGAIN) {
			err = nil // it is empty
		}
	}
	if err := errors.Join(err, write.Close()); err != nil {
		return nil, err
	}
	return io.ReadAll(read)
}

// writeOnce is one write(2), noted before and after; nothing stays noted of one
// that found the FIFO full.
func (w *stdinWriter) writeOnce(b []byte) (n int, err error) {
	conn, err := w.fifo.SyscallConn()
	if err != nil {
		return 0, err
	}
	var wrote error
	err = conn.Write(func(fd uintptr) bool {
		if wrote = w.log.Intend(len(b)); wrote != nil {
			return true
		}
		for {
			if n, wrote = unix.Write(int(fd), b); !errors.Is(wrote, unix.EINTR) {
				break
			}
		}
		n = max(n, 0)
		wrote = errors.Join(wrote, w.log.Commit(n))
		return !errors.Is(wrote, unix.EAGAIN)
	})
	return n, errors.Join(err, wrote)
}

func (w *stdinWriter) take() (lines [][]byte, over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines, w.lines = w.lines, nil
	if w.over {
		return nil, true
	}
	return lines, false
}

// drop lets go of lines that can't be written any more.
func (w *stdinWriter) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over, w.lines = true, nil
}
