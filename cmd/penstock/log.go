package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"penstock/cmd/penstock/terminal"
	"penstock/config"
	"penstock/server"
)

// newLogger writes text where a person reads and JSON where a machine does: into
// the sink, so that no line is ever waited for.
func newLogger(w io.Writer, c config.Log, level *slog.LevelVar) (*slog.Logger, *sink) {
	setLevel(level, c.Level)
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: spellDuration}
	handler := func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, o) }
	if c.Format == "text" || (c.Format == "auto" && terminal.Is(w)) {
		handler = func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, o) }
	}
	to := newSink(w, func(lines uint64) []byte {
		var line bytes.Buffer
		slog.New(handler(&line)).Warn("log lines dropped: what the log is written to did not take them", "lines", lines)
		return line.Bytes()
	})
	return slog.New(handler(to)), to
}

// spellDuration writes 1m30s, where JSON would have nanoseconds without a unit.
func spellDuration(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// setLevel takes a name that config has checked.
func setLevel(level *slog.LevelVar, name string) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(name)); err == nil {
		level.Set(l)
	}
}

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
	s := &sink{to: nonblocking(to), notice: notice, wake: make(chan struct{}, 1)}
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
	s.writeNotice()
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

// writeNotice puts the notice where the gap is.
func (s *sink) writeNotice() {
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
		if !wouldBlock(err) {
			break
		}
		time.Sleep(sinkRetry)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(rest) > 0 {
		s.drop(uint64(bytes.Count(rest, []byte("\n"))))
	} else if s.lost > 0 && len(s.pending) == 0 {
		s.writeNotice() // it flows again
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

// nonblocking is the same file, with a descriptor of our own whose writes can be
// given up, where the kernel can give one, and that does not end the process when
// its reader has gone (os/signal has the rule for descriptors 1 and 2). Where it
// can't, w is as it was: a write then may hold its goroutine, and nothing else.
//
// What the runtime itself writes as it dies goes to the descriptor that was
// given. It takes the new one's place, so that a pipe that is not read does not keep
// a process that has panicked.
func nonblocking(w io.Writer) io.Writer {
	f, ok := w.(*os.File)
	if !ok {
		return w
	}
	own, err := ownDescription(f)
	if err != nil {
		return w
	}
	return own
}

func ownDescription(f *os.File) (own *os.File, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var ownErr error
	err = conn.Control(func(given uintptr) { fd, ownErr = reopen(int(given)) })
	if err = errors.Join(err, ownErr); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// reopen opens what a descriptor leads to once more: O_NONBLOCK of the given one
// would be that of every process that shares it.
func reopen(given int) (int, error) {
	var st unix.Stat_t
	if err := unix.Fstat(given, &st); err != nil {
		return -1, os.NewSyscallError("fstat", err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		// A socket can't be opened again, and is hardly shared: a service manager
		// makes one for each service.
		if err := unix.SetNonblock(given, true); err != nil {
			return -1, os.NewSyscallError("fcntl", err)
		}
	case unix.S_IFIFO, unix.S_IFCHR:
		path := fmt.Sprintf("/proc/self/fd/%d", given)
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err == nil {
			return fd, os.NewSyscallError("dup3", unix.Dup3(fd, given, 0))
		}
	}
	fd, err := unix.FcntlInt(uintptr(given), unix.F_DUPFD_CLOEXEC, 3)
	return fd, os.NewSyscallError("fcntl", err)
}

func wouldBlock(err error) bool { return errors.Is(err, unix.EAGAIN) }
