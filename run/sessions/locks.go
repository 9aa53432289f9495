package sessions

import (
	"context"
	"slices"
	"sync"
)

// Locks let one holder per key go ahead, the others in order of arrival. The zero value is
// ready. Safe for concurrent use.
type Locks struct {
	mu    sync.Mutex
	lines map[string][]chan struct{} // the first one holds the lock
}

// Acquire waits for the lock. It returns ctx's error when ctx ends first, and
// context.Canceled when stop is closed, and the caller then has no lock. release may be
// called more than once. waits is called where it has to wait, once it has its place in the
// line; nil is nothing.
func (l *Locks) Acquire(ctx context.Context, stop <-chan struct{}, key string, waits func()) (release func(), err error) {
	mine := l.enqueue(key)
	release = sync.OnceFunc(func() { l.dequeue(key, mine) })
	select {
	case <-mine:
		return release, nil
	default:
	}
	if waits != nil {
		waits()
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

func (l *Locks) enqueue(key string) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.join(key)
}

// join puts the caller at the end of a line, with mu held.
func (l *Locks) join(key string) chan struct{} {
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

func (l *Locks) dequeue(key string, mine chan struct{}) {
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

// TryAcquire takes the lock only when it is neither held nor awaited.
func (l *Locks) TryAcquire(key string) (release func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines[key]) > 0 {
		return nil, false
	}
	mine := l.join(key)
	return sync.OnceFunc(func() { l.dequeue(key, mine) }), true
}

// Held tells of a key that is held.
func (l *Locks) Held(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines[key]) > 0
}

// Len is how many keys are held.
func (l *Locks) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines)
}
