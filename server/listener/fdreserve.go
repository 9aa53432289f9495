package listener

import (
	"log/slog"
	"os"
	"sync"
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
// health among them. Without it no client is answered, and a daemon that is short
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
