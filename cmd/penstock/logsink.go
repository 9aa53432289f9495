package main

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"penstock/server"
)

const (
	// sinkMax is what a sink holds of lines that are not written yet, in bytes;
	// as much again may be on its way.
	sinkMax = 1 << 20
	// sinkRetry is between two writes to a file that takes nothing.
	sinkRetry = 100 * time.Millisecond
	// sinkFlush is how long an exit waits for what is not written yet.
	sinkFlush = 2 * time.Second
)

// sink takes lines and writes them to a file that may take nothing for ever: a
// pipe that is not read, a service manager that hangs. A writer never waits.
// Lines that find no room are dropped and counted. Safe for concurrent use.
type sink struct {
	to     io.Writer
	notice func(lines uint64) []byte // what is written in place of lines dropped; nil is nothing
	wake   chan struct{}             // has room for one

	mu      sync.Mutex
	pending []byte
	spare   []byte
	writing bool
	idle    []chan struct{} // closed when all is written
	lost    uint64          // lines since the last notice
	dropped uint64          // lines in all
}

// newSink begins to write; it goes on for the rest of the process.
func newSink(to io.Writer, notice func(lines uint64) []byte) *sink {
	s := &sink{to: unblocked(to), notice: notice, wake: make(chan struct{}, 1)}
	go s.run()
	return s
}

// Write takes a whole line, or drops it.
func (s *sink) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	room := sinkMax
	if s.lost > 0 {
		room /= 2 // one gap in the log, not one behind each line
	}
	if len(s.pending)+len(line) > room {
		s.drop(1)
		return len(line), nil
	}
	s.tell()
	s.pending = append(s.pending, line...)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return len(line), nil
}

// state is for /health and metrics.
func (s *sink) state() server.LogState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return server.LogState{Dropped: s.dropped, Losing: s.lost > 0}
}

func (s *sink) drop(lines uint64) {
	s.lost += lines
	s.dropped += lines
}

// tell puts the notice where the gap is.
func (s *sink) tell() {
	if s.lost > 0 && s.notice != nil {
		s.pending = append(s.pending, s.notice(s.lost)...)
	}
	s.lost = 0
}

func (s *sink) run() {
	for {
		batch := s.next()
		if batch == nil {
			<-s.wake
			continue
		}
		s.write(batch)
	}
}

// next is what to write; nil is nothing.
func (s *sink) next() (batch []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = false
	if len(s.pending) > 0 {
		batch, s.pending, s.spare = s.pending, s.spare[:0], nil
		s.writing = true
		return batch
	}
	for _, waits := range s.idle {
		close(waits)
	}
	s.idle = nil
	return nil
}

// write goes on where a file took a part, so that no line is torn, and gives up
// what a file refuses.
func (s *sink) write(batch []byte) {
	rest := batch
	for len(rest) > 0 {
		n, err := s.to.Write(rest)
		rest = rest[n:]
		if err == nil {
			continue
		}
		if !isAgain(err) {
			break
		}
		time.Sleep(sinkRetry)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(rest) > 0 {
		s.drop(uint64(bytes.Count(rest, []byte("\n"))))
	} else if s.lost > 0 && len(s.pending) == 0 {
		s.tell() // it flows again
	}
	s.spare = batch
}

// flush waits under ctx until all is written.
func (s *sink) flush(ctx context.Context) {
	s.mu.Lock()
	if len(s.pending) == 0 && !s.writing {
		s.mu.Unlock()
		return
	}
	done := make(chan struct{})
	s.idle = append(s.idle, done)
	s.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
