package spool

import (
	"bytes"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// edgeSize is how many of the last bytes read are looked at again.
	edgeSize = 64
	// littleMax is how much a run that tells word by word has written since, at most.
	littleMax = 256
)

// tail is a place in a file that may only grow.
type tail struct {
	file   io.ReaderAt
	offset int64
	limit  int64 // -1 while the file may grow
	max    int64 // nothing beyond it is read, 0 is no bound; what lies there is of no run, see OutputMax of run.Spec
	atEnd  bool  // the last Read has seen that nothing followed
	much   bool  // there was more than littleMax to be read

	edge []byte // the last bytes before at
	look [edgeSize + littleMax + 1]byte
}

// Read gives 0, nil at the present end of a file that may grow, and ErrTampered
// for one that has shrunk.
func (s *tail) Read(p []byte) (n int, err error) {
	if s.limit >= 0 {
		p = p[:min(int64(len(p)), max(0, s.limit-s.offset))]
	}
	if s.max > 0 {
		p = p[:min(int64(len(p)), max(0, s.max-s.offset))]
	}
	n, all := 0, false
	if len(p) > 0 && !s.much {
		n, all, err = s.readLittle(p)
	}
	if err == nil && !all {
		n, err = s.readMuch(p)
	}
	if err == nil && n == 0 && len(p) > 0 && s.limit >= 0 {
		err = ErrTampered
	}
	if err != nil {
		return 0, err
	}
	s.much = n > littleMax
	s.atEnd = n < len(p) && (all || n == 0)
	s.offset += int64(n)
	s.keepEdge(p[:n])
	return n, nil
}

// readLittle reads what follows and the bytes before it by one call; all is false where
// it is too much for that. What is cut off in the middle of it the next read tells.
func (s *tail) readLittle(p []byte) (n int, all bool, err error) {
	edge := len(s.edge)
	look := s.look[:edge+littleMax+1]
	got, err := readOnce(s.file, look, s.offset-int64(edge))
	if err != nil {
		return 0, false, err
	}
	if !bytes.Equal(look[:min(got, edge)], s.edge) {
		return 0, false, ErrTampered
	}
	n = got - edge
	if n > min(littleMax, len(p)) {
		return 0, false, nil
	}
	copy(p, look[edge:got])
	return n, true, nil
}

func (s *tail) readMuch(p []byte) (n int, err error) {
	if len(p) > 0 {
		if n, err = readOnce(s.file, p, s.offset); err != nil {
			return 0, err
		}
	}
	// After the read: what was cut off later does not matter to it.
	return n, s.verify()
}

// verify looks at the bytes before at again. A size alone would not tell a file
// that was truncated and has grown beyond at since.
func (s *tail) verify() error {
	look := s.look[:len(s.edge)]
	n, err := readOnce(s.file, look, s.offset-int64(len(look)))
	if err != nil {
		return err
	}
	if !bytes.Equal(look[:n], s.edge) {
		return ErrTampered
	}
	return nil
}

// readOnce is ReadAt for a file that may grow: by one call it reads what is there, and 0
// bytes are its end.
func readOnce(from io.ReaderAt, p []byte, offset int64) (n int, err error) {
	f, ok := from.(*os.File)
	if !ok {
		n, err = from.ReadAt(p, offset)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return n, err
	}
	for {
		n, err = unix.Pread(int(f.Fd()), p, offset)
		if err == nil {
			return n, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return 0, &os.PathError{Op: "pread", Path: f.Name(), Err: err}
		}
	}
}

func (s *tail) keepEdge(p []byte) {
	p = p[max(0, len(p)-edgeSize):]
	over := max(0, len(s.edge)+len(p)-edgeSize)
	s.edge = append(s.edge[:copy(s.edge, s.edge[over:])], p...)
}
