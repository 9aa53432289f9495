package model

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
)

// Server is the scripted model. It is an http.Handler; Start gives it a listener
// of its own. All methods may be called from several goroutines.
type Server struct {
	closed chan struct{}
	close  sync.Once
	busy   sync.WaitGroup
	web    *http.Server
	url    string

	mu      sync.Mutex
	log     []Request
	changed chan struct{} // closed and replaced when log changes
	voided  map[string]bool
}

// New makes a server that is not listening yet.
func New() *Server {
	return &Server{
		closed:  make(chan struct{}),
		changed: make(chan struct{}),
		voided:  map[string]bool{},
	}
}

// Start listens on addr ("127.0.0.1:0" for any free port) and serves until Close.
// It is called once.
func (s *Server) Start(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("model server: listen %s: %w", addr, err)
	}
	s.url = "http://" + l.Addr().String()
	s.web = &http.Server{Handler: s}
	s.busy.Go(func() { s.web.Serve(l) }) // ends with ErrServerClosed
	return nil
}

// URL is the server's address without a trailing slash; empty before Start.
func (s *Server) URL() string { return s.url }

// Close breaks all requests off and waits for their handlers.
func (s *Server) Close() {
	s.close.Do(func() {
		s.mu.Lock()
		close(s.closed)
		s.mu.Unlock()
		if s.web != nil {
			s.web.Close()
		}
	})
	s.busy.Wait()
}

// TB is the part of testing.TB that ForTest needs.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// ForTest starts a server on a free port of 127.0.0.1 that ends with the test.
func ForTest(t TB) *Server {
	t.Helper()
	s := New()
	if err := s.Start("127.0.0.1:0"); err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Requests is a copy of the log, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.log...)
}

// Wait returns the first logged request that ok accepts, now or later.
func (s *Server) Wait(ctx context.Context, ok func(Request) bool) (Request, error) {
	for {
		s.mu.Lock()
		changed := s.changed
		for _, r := range s.log {
			if ok(r) {
				s.mu.Unlock()
				return r, nil
			}
		}
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return Request{}, fmt.Errorf("model server: wait for a request: %w", ctx.Err())
		}
	}
}

// enter counts a handler in, and is false after Close.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return false
	default:
		s.busy.Add(1)
		return true
	}
}

func (s *Server) record(r Request) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Number = len(s.log)
	s.log = append(s.log, r)
	s.wake()
	return r.Number
}

func (s *Server) settle(i int, o Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log[i].Outcome = o
	s.wake()
}

func (s *Server) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// voidNow says whether this void request is the one to break; every second
// request with the same key is answered whole.
func (s *Server) voidNow(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.voided[key] = !s.voided[key]
	return s.voided[key]
}
