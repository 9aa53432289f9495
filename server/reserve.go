package server

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	reserveSize = 4               // descriptors
	reservedFor = 5 * time.Second // what a connection on a reserved one may take in all
	warnEvery   = time.Minute     // between two warnings
	pollFor     = 100 * time.Millisecond
)

// fdReserve keeps a few descriptors back for the day there are none: then
// connections are accepted on those, a few at a time, and get a short reply,
// health among them. Without it nobody is answered, and a daemon that is short
// of files looks dead.
type fdReserve struct {
	log  *slog.Logger
	back chan struct{} // a short connection was closed; has room for one

	mu     sync.Mutex
	spare  []*os.File
	closed bool
	warned time.Time
}

func newFDReserve(log *slog.Logger) *fdReserve {
	r := &fdReserve{log: log, back: make(chan struct{}, 1)}
	r.fill()
	return r
}

// fill takes back what was given out; false while descriptors are short.
func (r *fdReserve) fill() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.spare) < reserveSize && !r.closed {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return false
		}
		r.spare = append(r.spare, f)
	}
	return true
}

// spend lets one go; false when all are out.
func (r *fdReserve) spend() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := len(r.spare) - 1
	if last < 0 {
		return false
	}
	_ = r.spare[last].Close() // of /dev/null
	r.spare = r.spare[:last]
	return true
}

func (r *fdReserve) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	for r.spend() {
	}
}

func (r *fdReserve) warn() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.warned) >= warnEvery {
		r.warned = now
		var l unix.Rlimit
		_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &l) // a figure for the message
		r.log.Warn("no file descriptor is left: requests are refused, health is answered from a reserve (hint: raise LimitNOFILE= of the unit, or have fewer clients)", "limit", l.Cur)
	}
}

// returned is told when a connection on a reserved descriptor was closed.
func (r *fdReserve) returned() {
	r.fill()
	select {
	case r.back <- struct{}{}:
	default:
	}
}

// reservingListener is a listener with a reserve.
type reservingListener struct {
	net.Listener
	reserve     *fdReserve
	connections *connections
}

func (l *reservingListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		switch {
		case err == nil && l.refill():
			return l.connections.add(c, nil), nil
		case err == nil:
			l.reserve.warn()
			_ = c.SetDeadline(time.Now().Add(reservedFor)) // fails only on a closed one
			return l.connections.add(c, l.reserve), nil
		case !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE):
			return nil, err
		}
		l.reserve.warn()
		// The kernel says so also when nobody is at the door: what is given up for
		// nobody somebody else would take.
		if l.hasPending() && !l.connections.shed() && !l.reserve.spend() {
			select {
			case <-l.reserve.back:
			case <-time.After(pollFor):
			}
		}
	}
}

// refill is false where the reserve can't be filled again, not even by closing a
// few connections.
func (l *reservingListener) refill() bool {
	for range reserveSize {
		if l.reserve.fill() {
			return true
		}
		if !l.connections.shed() {
			return false
		}
	}
	return l.reserve.fill()
}

// hasPending waits for a client, not for long; true where that can't be seen.
func (l *reservingListener) hasPending() (yes bool) {
	socket, ok := l.Listener.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(pollFor.Milliseconds()))
		yes = n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	})
	return yes || err != nil
}
