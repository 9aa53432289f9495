package server

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// phase is what a connection is doing; of those that can be done without, the
// smallest goes first.
type phase int

const (
	idle      phase = iota // between two requests
	unknown                // no request of a known client has come yet, or none since
	receiving              // a known client's request, whose body is on its way
	replying
)

// conn is one accepted connection.
type conn struct {
	net.Conn
	set     *connections
	reserve *fdReserve // it is on a descriptor of the reserve, its deadline stands; nil is the rule
	number  int32      // in the hangupPoller
	leave   context.CancelFunc

	mu      sync.Mutex
	phase   phase
	since   time.Time   // of the phase
	left    time.Time   // when the peer was seen to leave; zero: it is there
	writing time.Time   // when the write under way began; zero: none is
	over    func() bool // whether the run that is being read has ended; nil: none is
}

// setPhase is for the request's handler; c may be nil, where there is no
// connection to speak of.
func (c *conn) setPhase(p phase) {
	if c == nil {
		return
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase, c.since = p, now
	if p < replying {
		c.over = nil
	}
}

// followsRun notes that a run's output is being sent, and whether it has ended.
func (c *conn) followsRun(over func() bool) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = over
}

// peerClosed: the peer will send nothing more, which is how a closed connection looks
// from here. What is left to be said to it has a bound from now on.
func (c *conn) peerClosed() {
	c.mu.Lock()
	c.left = time.Now()
	c.mu.Unlock()
	_ = c.SetWriteDeadline(time.Time{}) // fails only on a closed one
	c.leave()
}

// Write notes since when a reader takes nothing.
func (c *conn) Write(p []byte) (int, error) {
	now := time.Now()
	c.mu.Lock()
	c.writing = now
	c.mu.Unlock()
	n, err := c.Conn.Write(p)
	c.mu.Lock()
	c.writing = time.Time{}
	c.mu.Unlock()
	return n, err
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reserve != nil {
		return nil
	}
	if last := c.left.Add(writeStall); !c.left.IsZero() && (t.IsZero() || t.After(last)) {
		t = last
	}
	return c.Conn.SetWriteDeadline(t)
}

func (c *conn) SetDeadline(t time.Time) error {
	if c.reserve != nil {
		return nil
	}
	return c.Conn.SetDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	if c.reserve != nil {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *conn) Close() error {
	c.set.remove(c)
	err := c.Conn.Close()
	if c.reserve != nil {
		c.reserve.returned()
	}
	return err
}

// stalled is how long its reader has taken nothing of a run that has ended.
func (c *conn) stalled(now time.Time) time.Duration {
	if c.over == nil || c.writing.IsZero() || !c.over() {
		return 0
	}
	return now.Sub(c.writing)
}

// connections are all that are open.
type connections struct {
	hangups *hangupPoller

	mu      sync.Mutex
	all     map[*conn]struct{}
	allIdle chan struct{} // closed when all are idle; nil while nobody waits
}

// add takes in one that was just accepted; r is of one on a reserved descriptor.
func (s *connections) add(c net.Conn, r *fdReserve) *conn {
	added := &conn{Conn: c, set: s, reserve: r, phase: unknown, since: time.Now(), leave: func() {}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[*conn]struct{}{}
	}
	s.all[added] = struct{}{}
	return added
}

func (s *connections) remove(c *conn) {
	if s.hangups != nil {
		s.hangups.forget(c)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, c)
	s.notifyIdle()
}

// context is an http.Server's ConnContext: it ends when the peer leaves.
func (s *connections) context(ctx context.Context, nc net.Conn) context.Context {
	ctx = withPeer(ctx, nc)
	c, ok := nc.(*conn)
	if !ok {
		return ctx
	}
	ctx, c.leave = context.WithCancel(ctx)
	if s.hangups != nil {
		s.hangups.register(c)
	}
	return ctx
}

// track is an http.Server's ConnState.
func (s *connections) track(nc net.Conn, state http.ConnState) {
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	switch state {
	case http.StateNew, http.StateActive:
		c.setPhase(unknown)
	case http.StateIdle:
		c.setPhase(idle)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.notifyIdle()
	}
}

// busy tells whether somebody waits for an answer on one of them: accepted, and not idle
// since. http.Server.Shutdown would close one whose request it has not begun to
// read. The caller holds s.mu.
func (s *connections) busy() bool {
	for c := range s.all {
		c.mu.Lock()
		p := c.phase
		c.mu.Unlock()
		if p != idle {
			return true
		}
	}
	return false
}

func (s *connections) notifyIdle() {
	if s.allIdle != nil && !s.busy() {
		close(s.allIdle)
		s.allIdle = nil
	}
}

// awaitIdle waits under ctx until nobody waits for an answer.
func (s *connections) awaitIdle(ctx context.Context) {
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
func (s *connections) shed() bool {
	now := time.Now()
	s.mu.Lock()
	var worst *conn
	var worstPhase phase
	var longest time.Duration
	for c := range s.all {
		c.mu.Lock()
		p, lasts := c.phase, now.Sub(c.since)
		if p == replying {
			lasts = c.stalled(now)
		}
		possible := c.reserve == nil && (p == idle || lasts > mayStand(p))
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

// timeToSpeak is what an accepted client has to send its request, or more of it,
// before its connection may be taken for one that holds a descriptor for nothing.
const timeToSpeak = time.Second

// mayStand is how long a connection may stand still before it is given up for others.
func mayStand(p phase) time.Duration {
	if p == replying {
		return writeStall
	}
	return timeToSpeak
}

// closeStalled closes those whose readers have taken nothing for so long of runs that are over.
func (s *connections) closeStalled(after time.Duration) {
	now := time.Now()
	var old []*conn
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
