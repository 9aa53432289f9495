package run

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"penstock/outcome"
	"penstock/spawn"
)

// SessionLock is the right to run the next turn of a session: no other run has it
// until it is released. Safe for concurrent use.
type SessionLock struct {
	key    string
	unlock func()
}

// LockSession waits under ctx until the session is free, first come first served, so
// that no slot is held meanwhile. Give it to Start in Spec.SessionLock, or release it.
// Errors: ctx's own; *spawn.StartError when the manager ends.
func (m *Manager) LockSession(ctx context.Context, client, session string) (*SessionLock, error) {
	key := sessionKey(client, session)
	release, err := m.sessionLocks.acquire(ctx, m.ending, key)
	switch {
	case err == nil:
		return &SessionLock{key, release}, nil
	case ctx.Err() == nil:
		return nil, &spawn.StartError{Cause: outcome.ShuttingDown, Err: fmt.Errorf("session %q: the daemon is shutting down", session)}
	}
	return nil, fmt.Errorf("wait for session %q: %w", session, ctx.Err())
}

// Release gives the session free. It may be called more than once, and on nil.
func (l *SessionLock) Release() {
	if l != nil {
		l.unlock()
	}
}

// sessionLocks lets one holder per key go ahead, the others in order of arrival.
type sessionLocks struct {
	mu    sync.Mutex
	lines map[string][]chan struct{} // the first one holds the lock
}

// acquire waits for the lock. It returns ctx's error when ctx or stop ends first,
// and the caller then has no lock. Call release once.
func (l *sessionLocks) acquire(ctx context.Context, stop <-chan struct{}, key string) (release func(), err error) {
	mine := l.enqueue(key)
	release = sync.OnceFunc(func() { l.dequeue(key, mine) })
	select {
	case <-mine:
		return release, nil
	default:
	}
	select {
	case <-mine:
		return release, nil
	case <-stop:
		err = context.Canceled
	case <-ctx.Done():
		err = ctx.Err()
	}
	release()
	return nil, err
}

func (l *sessionLocks) enqueue(key string) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines == nil {
		l.lines = map[string][]chan struct{}{}
	}
	mine := make(chan struct{})
	if len(l.lines[key]) == 0 {
		close(mine)
	}
	l.lines[key] = append(l.lines[key], mine)
	return mine
}

func (l *sessionLocks) dequeue(key string, mine chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := l.lines[key]
	i := slices.Index(line, mine)
	line = slices.Delete(line, i, i+1)
	if len(line) == 0 {
		delete(l.lines, key)
		return
	}
	l.lines[key] = line
	if i == 0 {
		close(line[0])
	}
}

// tryAcquire takes the lock only when it is neither held nor awaited.
func (l *sessionLocks) tryAcquire(key string) (release func(), ok bool) {
	l.mu.Lock()
	busy := len(l.lines[key]) > 0
	l.mu.Unlock()
	if busy {
		return nil, false
	}
	mine := l.enqueue(key)
	release = sync.OnceFunc(func() { l.dequeue(key, mine) })
	if !isClosed(mine) {
		release()
		return nil, false
	}
	return release, true
}
