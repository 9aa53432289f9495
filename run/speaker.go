package run

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// pipeBuf is what a FIFO takes whole or not at all (PIPE_BUF, pipe(7)).
const pipeBuf = 4096

// speaker writes a machine's lines to a conversational CLI, in order, while
// the CLI takes its time: a prompt may be a hundred times what the FIFO holds.
// A nil speaker is one for a CLI that isn't spoken to.
type speaker struct {
	fifo *os.File
	said *said
	skip int64 // bytes that an earlier daemon has said
	done chan struct{}

	mu    sync.Mutex
	lines [][]byte
	more  chan struct{} // has room for one
	over  bool
}

// newSpeaker needs someone to have the FIFO open for reading. What said tells
// was said already is left out; said is the speaker's to close, also when it fails.
func newSpeaker(path string, told *said) (*speaker, error) {
	f, err := openOurs(path, os.O_WRONLY, os.ModeNamedPipe)
	if err != nil {
		told.close()
		return nil, fmt.Errorf("speak to the CLI: %w", err)
	}
	s := &speaker{fifo: f, said: told, done: make(chan struct{}), more: make(chan struct{}, 1)}
	if told != nil {
		s.skip = told.done
	}
	go s.speak()
	return s, nil
}

// say queues lines, LF added; it never blocks.
func (s *speaker) say(lines [][]byte) {
	if s == nil || len(lines) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	for _, line := range lines {
		s.lines = append(s.lines, append(line[:len(line):len(line)], '\n'))
	}
	s.wake()
}

func (s *speaker) wake() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// close ends it at once, also in the middle of a line nobody reads.
func (s *speaker) close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.over = true
	s.wake()
	s.mu.Unlock()
	// The error of a FIFO already closed by the writer is of no use.
	_ = s.fifo.SetWriteDeadline(time.Unix(1, 0))
	<-s.done
}

func (s *speaker) speak() {
	defer close(s.done)
	defer s.fifo.Close()
	defer s.said.close()
	for range s.more {
		lines, over := s.take()
		for _, line := range lines {
			if err := s.write(line); err != nil {
				s.stop()
				return
			}
		}
		if over {
			return
		}
	}
}

// write says one line, or what of it wasn't said before.
func (s *speaker) write(line []byte) error {
	known := min(s.skip, int64(len(line)))
	s.skip -= known
	for line = line[known:]; len(line) > 0; {
		n, err := s.once(line[:min(len(line), pipeBuf)])
		if err != nil {
			return err
		}
		line = line[n:]
	}
	return nil
}

// once is one write(2), noted before and after; nothing stays noted of one
// that found the FIFO full.
func (s *speaker) once(b []byte) (n int, err error) {
	conn, err := s.fifo.SyscallConn()
	if err != nil {
		return 0, err
	}
	var wrote error
	err = conn.Write(func(fd uintptr) bool {
		if wrote = s.said.mean(len(b)); wrote != nil {
			return true
		}
		for {
			if n, wrote = unix.Write(int(fd), b); wrote != unix.EINTR {
				break
			}
		}
		n = max(n, 0)
		wrote = errors.Join(wrote, s.said.did(n))
		return !errors.Is(wrote, unix.EAGAIN)
	})
	return n, errors.Join(err, wrote)
}

func (s *speaker) take() (lines [][]byte, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines, s.lines = s.lines, nil
	if s.over {
		return nil, true
	}
	return lines, false
}

// stop lets go of lines that can't be said any more.
func (s *speaker) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over, s.lines = true, nil
}
