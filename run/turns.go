package run

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"penstock/outcome"
	"penstock/spawn"
)

// Turn is the right to run the next turn of a session: nobody else runs one
// until it is released. Safe for concurrent use.
type Turn struct {
	key     string
	release func()
}

// Turn waits under ctx until the session is free, first come first served, so
// that no slot is held meanwhile. Give it to Start in Spec.Turn, or release it.
// Errors: ctx's own; *spawn.StartError when the manager ends.
func (m *Manager) Turn(ctx context.Context, client, session string) (*Turn, error) {
	key := sessionKey(client, session)
	release, err := m.turns.take(ctx, m.ending, key)
	switch {
	case err == nil:
		return &Turn{key, release}, nil
	case ctx.Err() == nil:
		return nil, &spawn.StartError{Cause: outcome.ShuttingDown, Err: fmt.Errorf("session %q: the daemon is shutting down", session)}
	}
	return nil, fmt.Errorf("wait for session %q: %w", session, ctx.Err())
}

// Release gives the session free. It may be called more than once, and on nil.
func (t *Turn) Release() {
	if t != nil {
		t.release()
	}
}

// turns lets one holder per key go ahead, the others in order of arrival.
type turns struct {
	mu    sync.Mutex
	lines map[string][]chan struct{} // the first one holds the turn
}

// take waits for the turn. It returns ctx's error when ctx or stop ends first,
// and the caller then has no turn. Call release once.
func (t *turns) take(ctx context.Context, stop <-chan struct{}, key string) (release func(), err error) {
	mine := t.join(key)
	release = sync.OnceFunc(func() { t.leave(key, mine) })
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

func (t *turns) join(key string) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lines == nil {
		t.lines = map[string][]chan struct{}{}
	}
	mine := make(chan struct{})
	if len(t.lines[key]) == 0 {
		close(mine)
	}
	t.lines[key] = append(t.lines[key], mine)
	return mine
}

func (t *turns) leave(key string, mine chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	line := t.lines[key]
	i := slices.Index(line, mine)
	line = slices.Delete(line, i, i+1)
	if len(line) == 0 {
		delete(t.lines, key)
		return
	}
	t.lines[key] = line
	if i == 0 {
		close(line[0])
	}
}

// try takes the turn only when nobody has or awaits it.
func (t *turns) try(key string) (release func(), ok bool) {
	t.mu.Lock()
	busy := len(t.lines[key]) > 0
	t.mu.Unlock()
	if busy {
		return nil, false
	}
	mine := t.join(key)
	release = sync.OnceFunc(func() { t.leave(key, mine) })
	if !isClosed(mine) {
		release()
		return nil, false
	}
	return release, true
}
