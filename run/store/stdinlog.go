package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"penstock/internal/openat"
)

// StdinLog keeps on disk how much a CLI was told, so that the next daemon neither
// repeats a request nor leaves one out. What is meant is noted before each
// write and what was done after it. A write(2) of at most PIPE_BUF is done whole or not at all
// (pipe(7)), but a daemon may be killed just before it, too: of the last one noted the next
// daemon then has to find out (Unsure). A nil StdinLog is for a run that no other daemon will
// talk to.
type StdinLog struct {
	file    *os.File
	Written int64 // bytes that were
	Unsure  int64 // bytes after those that may have been written, as one; 0 is none
}

// logSize is that of what was meant and of what was done. An earlier version has the first alone.
const logSize = 16

// OpenStdinLog goes on where an earlier daemon was, or begins. Where it is to be there
// and is not, nothing is known of what was told.
func OpenStdinLog(path string, begin bool) (*StdinLog, error) {
	flags := os.O_RDWR
	if begin {
		flags |= os.O_CREATE
	}
	f, err := openat.Kind(path, flags, 0)
	if err != nil {
		return nil, err
	}
	var b [logSize]byte
	n, err := f.ReadAt(b[:], 0)
	meant := int64(binary.LittleEndian.Uint64(b[:8]))
	done := int64(binary.LittleEndian.Uint64(b[8:]))
	if n == logSize/2 {
		done = meant
	}
	if errors.Is(err, io.EOF) && (n == 0 || n == logSize/2) {
		err = nil
	}
	if err != nil || done < 0 || meant < done {
		return nil, errors.Join(fmt.Errorf("%s: %x: no numbers of bytes: %w", path, b[:n], fs.ErrInvalid), err, f.Close())
	}
	return &StdinLog{file: f, Written: done, Unsure: meant - done}, nil
}

// Intend notes that n bytes more are about to be written.
func (l *StdinLog) Intend(n int) error {
	if l == nil {
		return nil
	}
	return l.put(l.Written + int64(n))
}

// Commit notes that n of those were.
func (l *StdinLog) Commit(n int) error {
	if l == nil {
		return nil
	}
	l.Written += int64(n)
	l.Unsure = 0
	return l.put(l.Written)
}

func (l *StdinLog) put(meant int64) error {
	b := binary.LittleEndian.AppendUint64(nil, uint64(meant))
	_, err := l.file.WriteAt(binary.LittleEndian.AppendUint64(b, uint64(l.Written)), 0)
	return err
}

// Close is right for a nil log, too.
func (l *StdinLog) Close() {
	if l != nil {
		l.file.Close()
	}
}
