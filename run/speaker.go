package run

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// speaker writes a machine's lines to a conversational CLI, in order, while
// the CLI takes its time: a prompt may be a hundred times what the FIFO holds.
// A nil speaker is one for a CLI that isn't spoken to.
type speaker struct {
	fifo *os.File
	done chan struct{}

	mu    sync.Mutex
	lines [][]byte
	more  chan struct{} // has room for one
	over  bool
}

// newSpeaker needs someone to have the FIFO open for reading.
func newSpeaker(path string) (*speaker, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("speak to the CLI: %w", err)
	}
	s := &speaker{fifo: f, done: make(chan struct{}), more: make(chan struct{}, 1)}
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
	for range s.more {
		lines, over := s.take()
		for _, line := range lines {
			if _, err := s.fifo.Write(line); err != nil {
				s.stop()
				return
			}
		}
		if over {
			return
		}
	}
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
