package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"penstock/internal/openat"
)

// StdinLog keeps on disk how much a CLI was told, so that the next daemon neither
// repeats a request nor leaves one out. What was meant is noted before each
// write and what was done after it: a daemon killed in between was killed on
// its way out of a write(2) of at most PIPE_BUF, which is done whole (pipe(7)).
// A nil StdinLog is for a run that no other daemon will talk to.
type StdinLog struct {
	file    *os.File
	Written int64
}

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
	var b [8]byte
	n, err := f.ReadAt(b[:], 0)
	done := int64(binary.LittleEndian.Uint64(b[:]))
	if err != nil && n != 0 || done < 0 {
		return nil, errors.Join(fmt.Errorf("%s: %x: not a number of bytes: %w", path, b[:n], fs.ErrInvalid), f.Close())
	}
	return &StdinLog{file: f, Written: done}, nil
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
	return l.put(l.Written)
}

func (l *StdinLog) put(n int64) error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	_, err := l.file.WriteAt(b[:], 0)
	return err
}

// Close is right for a nil log, too.
func (l *StdinLog) Close() {
	if l != nil {
		l.file.Close()
	}
}
