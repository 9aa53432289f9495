package run

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// said keeps on disk how much a CLI was told, so that the next daemon neither
// repeats a request nor leaves one out. What was meant is noted before each
// write and what was done after it: a daemon killed in between was killed on
// its way out of a write(2) of at most PIPE_BUF, which is done whole (pipe(7)).
// A nil said is for a run that no other daemon will talk to.
type said struct {
	file *os.File
	done int64
}

// openSaid goes on where an earlier daemon was, or begins. Where it is to be there
// and is not, nothing is known of what was told.
func openSaid(path string, begin bool) (*said, error) {
	flags := os.O_RDWR
	if begin {
		flags |= os.O_CREATE
	}
	f, err := openOurs(path, flags, 0)
	if err != nil {
		return nil, err
	}
	var b [8]byte
	n, err := f.ReadAt(b[:], 0)
	done := int64(binary.LittleEndian.Uint64(b[:]))
	if err != nil && n != 0 || done < 0 {
		return nil, errors.Join(fmt.Errorf("%s: %x: not a number of bytes: %w", path, b[:n], fs.ErrInvalid), f.Close())
	}
	return &said{file: f, done: done}, nil
}

// mean notes that n bytes more are about to be said.
func (s *said) mean(n int) error {
	if s == nil {
		return nil
	}
	return s.put(s.done + int64(n))
}

// did notes that n of those were.
func (s *said) did(n int) error {
	if s == nil {
		return nil
	}
	s.done += int64(n)
	return s.put(s.done)
}

func (s *said) put(n int64) error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	_, err := s.file.WriteAt(b[:], 0)
	return err
}

func (s *said) close() {
	if s != nil {
		s.file.Close()
	}
}
