package run

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"penstock/internal/openat"
)

// pipeBuf is what a FIFO takes whole or not at all (PIPE_BUF, pipe(7)).
const pipeBuf = 4096

// stdinWriter writes a machine's lines to a conversational CLI, in order, while
// the CLI takes its time: a prompt may be a hundred times what the FIFO holds.
// A nil stdinWriter is one for a CLI that isn't spoken to.
type stdinWriter struct {
	fifo *os.File
	log  *stdinLog
	skip int64 // bytes that an earlier daemon has written
	done chan struct{}

	mu    sync.Mutex
	lines [][]byte
	more  chan struct{} // has room for one
	over  bool
}

// newStdinWriter needs the FIFO to be open for reading elsewhere. What the log tells
// was written already is left out; the log is the writer's to close, also when it fails.
func newStdinWriter(path string, log *stdinLog) (*stdinWriter, error) {
	f, err := openat.Kind(path, os.O_WRONLY, os.ModeNamedPipe)
	if err != nil {
		log.close()
		return nil, fmt.Errorf("speak to the CLI: %w", err)
	}
	w := &stdinWriter{fifo: f, log: log, done: make(chan struct{}), more: make(chan struct{}, 1)}
	if log != nil {
		w.skip = log.written
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
	defer w.log.close()
	for range w.more {
		lines, over := w.take()
		for _, line := range lines {
			if err := w.write(line); err != nil {
				w.drop()
				return
			}
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
	for line = line[known:]; len(line) > 0; {
		n, err := w.writeOnce(line[:min(len(line), pipeBuf)])
		if err != nil {
			return err
		}
		line = line[n:]
	}
	return nil
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
		if wrote = w.log.intend(len(b)); wrote != nil {
			return true
		}
		for {
			if n, wrote = unix.Write(int(fd), b); wrote != unix.EINTR {
				break
			}
		}
		n = max(n, 0)
		wrote = errors.Join(wrote, w.log.commit(n))
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

// stdinLog keeps on disk how much a CLI was told, so that the next daemon neither
// repeats a request nor leaves one out. What was meant is noted before each
// write and what was done after it: a daemon killed in between was killed on
// its way out of a write(2) of at most PIPE_BUF, which is done whole (pipe(7)).
// A nil stdinLog is for a run that no other daemon will talk to.
type stdinLog struct {
	file    *os.File
	written int64
}

// openStdinLog goes on where an earlier daemon was, or begins. Where it is to be there
// and is not, nothing is known of what was told.
func openStdinLog(path string, begin bool) (*stdinLog, error) {
	flags := os.O_RDWR
	if begin {
		flags |= os.O_CREATE
	}
	f, err := openat.Kind(path, flags, 0)
	if err != nil {
		return nil, err
	}
	var b [8]byte
	n, err := f.ReadAt(b[:], 0)
	done := int64(binary.LittleEndian.Uint64(b[:]))
	if err != nil && n != 0 || done < 0 {
		return nil, errors.Join(fmt.Errorf("%s: %x: not a number of bytes: %w", path, b[:n], fs.ErrInvalid), f.Close())
	}
	return &stdinLog{file: f, written: done}, nil
}

// intend notes that n bytes more are about to be written.
func (l *stdinLog) intend(n int) error {
	if l == nil {
		return nil
	}
	return l.put(l.written + int64(n))
}

// commit notes that n of those were.
func (l *stdinLog) commit(n int) error {
	if l == nil {
		return nil
	}
	l.written += int64(n)
	return l.put(l.written)
}

func (l *stdinLog) put(n int64) error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	_, err := l.file.WriteAt(b[:], 0)
	return err
}

func (l *stdinLog) close() {
	if l != nil {
		l.file.Close()
	}
}
