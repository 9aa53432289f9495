package listener

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Phase is what a connection is doing; of those that can be done without, the
// smallest goes first.
type Phase int

const (
	Idle      Phase = iota // between two requests
	Unknown                // no request of a known client has come yet, or none since
	Receiving              // a known client's request, whose body is on its way
	Replying
)

// Conn is one accepted connection.
type Conn struct {
	net.Conn
	onClose func()     // called before it is closed
	reserve *fdReserve // it is on a descriptor of the reserve, its deadline stands; nil is the rule
	peer    peer
	leave   context.CancelFunc
	watched bool        // the hangup poller tells when the peer leaves
	cut     atomic.Bool // FollowsRun has ended a read, which its caller is not to see

	mu      sync.Mutex
	phase   Phase
	since   time.Time   // of the phase
	left    time.Time   // when the peer was seen to leave; zero: it is there
	writing time.Time   // when the write under way began; zero: none is
	over    func() bool // whether the run that is being read has ended; nil: none is
}

// Reserved tells whether the connection is on a descriptor of the reserve.
func (c *Conn) Reserved() bool { return c.reserve != nil }

// SetPhase is for the request's handler; c may be nil, where there is no
// connection to speak of.
func (c *Conn) SetPhase(p Phase) {
	if c == nil {
		return
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase, c.since = p, now
	if p < Replying {
		c.over = nil
	}
}

// FollowsRun notes that a run's output is being sent, and whether it has ended. Its reader
// may be silent for hours, and net/http holds a goroutine meanwhile that reads a byte
// ahead, to see the peer leave: the hangup poller sees that, too, so it is let go.
func (c *Conn) FollowsRun(over func() bool) {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.over = over
	c.mu.Unlock()
	if c.watched && c.reserve == nil {
		c.cut.Store(true)
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed one
	}
}

// Read gives no byte and no error where FollowsRun has cut it short.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && c.cut.CompareAndSwap(true, false) {
		return 0, c.Conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

// peerClosed: the peer will send nothing more, which is how a closed connection looks
// from here. What is left to be said to it has a bound from now on.
func (c *Conn) peerClosed() {
	c.mu.Lock()
	c.left = time.Now()
	c.mu.Unlock()
	_ = c.SetWriteDeadline(time.Time{}) // fails only on a closed one
	c.leave()
}

// Write notes since when a reader takes nothing.
func (c *Conn) Write(p []byte) (int, error) {
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

func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reserve != nil {
		return nil
	}
	if last := c.left.Add(WriteStall); !c.left.IsZero() && (t.IsZero() || t.After(last)) {
		t = last
	}
	return c.Conn.SetWriteDeadline(t)
}

func (c *Conn) SetDeadline(t time.Time) error {
	if c.reserve != nil {
		return nil
	}
	c.cut.Store(false)
	return c.Conn.SetDeadline(t)
}

func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.reserve != nil {
		return nil
	}
	c.cut.Store(false)
	return c.Conn.SetReadDeadline(t)
}

func (c *Conn) Close() error {
	c.onClose()
	err := c.Conn.Close()
	if c.reserve != nil {
		c.reserve.returned()
	}
	return err
}

// stalled is how long its reader has taken nothing of a run that has ended.
func (c *Conn) stalled(now time.Time) time.Duration {
	if c.over == nil || c.writing.IsZero() || !c.over() {
		return 0
	}
	return now.Sub(c.writing)
}

// WriteStall is how long a write may make no progress, unless it is of a run's
// answer (see web.Reply.WaitForReader).
const WriteStall = 30 * time.Second

// timeToSpeak is what an accepted client has to send its request, or more of it,
// before its connection may be taken for one that holds a descriptor for nothing.
const timeToSpeak = time.Second

// mayStand is how long a connection may stand still before it is given up for others.
func mayStand(p Phase) time.Duration {
	if p == Replying {
		return WriteStall
	}
	return timeToSpeak
}
