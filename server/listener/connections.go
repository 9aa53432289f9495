package listener

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Connections are all that are open. Its zero value counts them and sees no peer
// leave.
type Connections struct {
	hangups *hangupPoller
	reserve *fdReserve

	mu      sync.Mutex
	all     map[*Conn]struct{}
	allIdle chan struct{} // closed when all are idle; nil while nothing waits for that
}

// Open begins to watch for peers that leave, and takes descriptors into reserve.
func (s *Connections) Open(log *slog.Logger) (err error) {
	if s.hangups, err = newHangupPoller(log); err != nil {
		return err
	}
	s.reserve = newFDReserve(log)
	return nil
}

// Close gives back what open took; the connections stay.
func (s *Connections) Close() {
	s.reserve.close()
	s.hangups.close()
}

// Limit is l, with its connections among these and with the reserve behind it.
func (s *Connections) Limit(l net.Listener) net.Listener {
	return &reservingListener{l, s.reserve, s}
}

// add takes in one that was just accepted; r is of one on a reserved descriptor.
func (s *Connections) add(c net.Conn, r *fdReserve) *Conn {
	added := &Conn{Conn: c, reserve: r, phase: Unknown, since: time.Now(), leave: func() {}}
	added.peer = peer{socket: c, closed: added.peerClosed}
	added.onClose = func() { s.remove(added) }
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[*Conn]struct{}{}
	}
	s.all[added] = struct{}{}
	return added
}

func (s *Connections) remove(c *Conn) {
	if s.hangups != nil {
		s.hangups.forget(&c.peer)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, c)
	s.notifyIdle()
}

// ConnContext is an http.Server's ConnContext: it ends when the peer leaves.
func (s *Connections) ConnContext(ctx context.Context, nc net.Conn) context.Context {
	c, ok := nc.(*Conn)
	if !ok {
		return ctx
	}
	ctx, c.leave = context.WithCancel(ctx)
	if s.hangups != nil {
		c.watched = s.hangups.register(&c.peer)
	}
	return ctx
}

// ConnState is an http.Server's ConnState.
func (s *Connections) ConnState(nc net.Conn, state http.ConnState) {
	c, ok := nc.(*Conn)
	if !ok {
		return
	}
	switch state {
	case http.StateNew, http.StateActive:
		c.SetPhase(Unknown)
	case http.StateIdle:
		c.SetPhase(Idle)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.notifyIdle()
	}
}

// busy tells whether a client waits for an answer on one of them: accepted, and not idle
// since. http.Server.Shutdown would close one whose request it has not begun to
// read. The caller holds s.mu.
func (s *Connections) busy() bool {
	for c := range s.all {
		c.mu.Lock()
		p := c.phase
		c.mu.Unlock()
		if p != Idle {
			return true
		}
	}
	return false
}

func (s *Connections) notifyIdle() {
	if s.allIdle != nil && !s.busy() {
		close(s.allIdle)
		s.allIdle = nil
	}
}

// AwaitIdle waits under ctx until no client waits for an answer.
func (s *Connections) AwaitIdle(ctx context.Context) {
	s.mu.Lock()
	if !s.busy() {
		s.mu.Unlock()
		return
	}
	if s.allIdle == nil {
		s.allIdle = make(chan struct{})
	}
	quiet := s.allIdle
	s.mu.Unlock()
	select {
	case <-quiet:
	case <-ctx.Done():
	}
}

// shed closes the connection that can best be done without, where descriptors
// are short: an idle one, else one that no known client has spoken on, else one
// whose request doesn't come, else a reader that takes nothing of a run that is
// over; of equals the one that is so for longest, of those that have stood still for
// a while. False when there is none.
func (s *Connections) shed() bool {
	now := time.Now()
	s.mu.Lock()
	var worst *Conn
	var worstPhase Phase
	var longest time.Duration
	for c := range s.all {
		c.mu.Lock()
		p, lasts := c.phase, now.Sub(c.since)
		if p == Replying {
			lasts = c.stalled(now)
		}
		possible := c.reserve == nil && (p == Idle || lasts > mayStand(p))
		c.mu.Unlock()
		if possible && (worst == nil || cmp.Or(cmp.Compare(p, worstPhase), cmp.Compare(longest, lasts)) < 0) {
			worst, worstPhase, longest = c, p, lasts
		}
	}
	s.mu.Unlock()
	if worst == nil {
		return false
	}
	_ = worst.Close() // it is given up
	return true
}

// CloseStalled closes those whose readers have taken nothing for so long of runs that are over.
func (s *Connections) CloseStalled(after time.Duration) {
	now := time.Now()
	var old []*Conn
	s.mu.Lock()
	for c := range s.all {
		c.mu.Lock()
		if c.stalled(now) > after {
			old = append(old, c)
		}
		c.mu.Unlock()
	}
	s.mu.Unlock()
	for _, c := range old {
		_ = c.Close()
	}
}

// reservingListener is a listener with a reserve.
type reservingListener struct {
	net.Listener
	reserve     *fdReserve
	connections *Connections
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
		// The kernel says so also when no client waits: a descriptor that is given up for
		// none another process would take.
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
