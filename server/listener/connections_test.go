package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"time"
)

// pipes are connections whose other ends stay open.
func pipes(t *testing.T, s *Connections, n int) []*Conn {
	var all []*Conn
	for range n {
		near, far := net.Pipe()
		t.Cleanup(func() { near.Close(); far.Close() })
		all = append(all, s.add(near, nil))
	}
	return all
}

// What can best be done without goes first, and what serves a client never.
func TestConnections_Shed(t *testing.T) {
	s := &Connections{}
	c := pipes(t, s, 9)
	ago := func(c *Conn, p Phase, d time.Duration) {
		c.SetPhase(p)
		c.since = time.Now().Add(-d)
	}
	ended := func() bool { return true }
	ago(c[0], Replying, time.Hour)
	ago(c[1], Receiving, time.Minute)
	ago(c[2], Unknown, time.Second)
	ago(c[3], Idle, time.Second)
	ago(c[4], Unknown, time.Minute)
	ago(c[5], Replying, time.Hour) // its reader has stalled, and its run goes on
	c[5].over, c[5].writing = func() bool { return false }, time.Now().Add(-time.Hour)
	ago(c[6], Idle, time.Minute)
	ago(c[7], Replying, time.Hour) // its reader has stalled, and its run is over
	c[7].over, c[7].writing = ended, time.Now().Add(-time.Hour)
	ago(c[8], Replying, time.Hour) // it may take its piece yet
	c[8].over, c[8].writing = ended, time.Now()
	var order []int
	for s.shed() {
		for i, one := range c {
			if _, open := s.all[one]; !open && !slices.Contains(order, i) {
				order = append(order, i)
			}
		}
	}
	if got := fmt.Sprint(order); got != "[6 3 4 2 1 7]" {
		t.Errorf("closed in the order %s", got)
	}
	if n, err := c[6].Conn.Write([]byte("x")); err == nil {
		t.Errorf("it is open: %d", n)
	}
}

// Readers that take nothing of runs that are over are let go in the end.
func TestConnections_CloseStalled(t *testing.T) {
	s := &Connections{}
	c := pipes(t, s, 3)
	for i, over := range []bool{true, false, true} {
		c[i].FollowsRun(func() bool { return over })
		c[i].writing = time.Now().Add(-time.Hour)
	}
	c[2].writing = time.Time{} // it has taken all so far
	s.CloseStalled(time.Minute)
	if len(s.all) != 2 || s.all[c[1]] != struct{}{} {
		t.Errorf("%d are left", len(s.all))
	}
	if _, open := s.all[c[0]]; open {
		t.Error("the one that had stalled is still there")
	}
}

// After a hangup what is left to be said has a bound, also where none was set.
func TestConn_PeerClosed(t *testing.T) {
	s := &Connections{}
	c := pipes(t, s, 1)[0]
	ctx, cancel := context.WithCancel(t.Context())
	c.leave = cancel
	c.peerClosed()
	if ctx.Err() == nil {
		t.Error("its request goes on")
	}
	c.left = time.Now().Add(-2 * WriteStall)
	if err := c.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Write([]byte("x")); err == nil {
		t.Errorf("wrote %d with no reader", n)
	}
}

// A read ahead is let go for a reader that may be silent for long, where the hangup poller
// watches, and nothing is lost to those that come after it.
func TestConn_FollowsRunEndsRead(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	c := (&Connections{}).add(near, nil)
	defer c.Close()
	type result struct {
		n   int
		err error
	}
	read := func() <-chan result {
		done := make(chan result, 1)
		go func() {
			n, err := c.Read(make([]byte, 1))
			done <- result{n, err}
		}()
		return done
	}
	never := func() bool { return false }
	done := read()
	c.FollowsRun(never)
	go far.Write([]byte("x"))
	if got := <-done; got != (result{1, nil}) {
		t.Errorf("%+v of a connection that is not watched, want what its peer sent", got)
	}
	c.watched = true
	done = read()
	c.FollowsRun(never)
	if got := <-done; got != (result{}) {
		t.Errorf("%+v, want neither a byte nor an error", got)
	}
	c.FollowsRun(never) // nothing is read now
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	done = read()
	go far.Write([]byte("x"))
	if got := <-done; got != (result{1, nil}) {
		t.Errorf("%+v of what came later, want a byte", got)
	}
	c.FollowsRun(never)
	if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if got := <-read(); !errors.Is(got.err, os.ErrDeadlineExceeded) {
		t.Errorf("%+v after another's deadline, want that", got)
	}
}
