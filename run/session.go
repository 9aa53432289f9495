package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"penstock/outcome"
	"penstock/run/sessions"
	"penstock/spawn"
)

var (
	// ErrNoSession is wrapped when a client has no session of that name.
	ErrNoSession = sessions.ErrNoSession
	// ErrSessionBusy is wrapped when a session has a run, or one that waits.
	ErrSessionBusy = errors.New("session has a run: cancel it first")
)

// SessionError refuses a run that can't continue its session: nothing was started.
type SessionError struct {
	Session    string
	Field      string // "backend" or "cwd"
	Have, Want string
}

func (e *SessionError) Error() string {
	return fmt.Sprintf("session %q: its %s is %q, not %q: use another session_id, or forget this one", e.Session, e.Field, e.Have, e.Want)
}

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
	key := sessions.Key(client, session)
	release, err := m.sessionLocks.Acquire(ctx, m.ending, key)
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

// SessionKnown gives the CLI's own id of a client's session; false when the
// CLI never told one, and a run of it would start a new conversation.
func (m *Manager) SessionKnown(client, session string) (cliSession string, ok bool) {
	s, _ := m.sessions.Get(sessions.Key(client, session))
	return s.CLISession, s.CLISession != ""
}

// Sessions are a client's sessions, newest first; an empty client is all of them.
func (m *Manager) Sessions(client string) []Session { return m.sessions.List(client) }

// Forget drops a session with its directories: the next run of that name
// starts anew. What the CLI itself keeps in a HOME of the user's own stays.
func (m *Manager) Forget(client, session string) error {
	key := sessions.Key(client, session)
	release, ok := m.sessionLocks.TryAcquire(key)
	if !ok {
		return fmt.Errorf("forget session %q: %w", session, ErrSessionBusy)
	}
	defer release()
	if err := m.sessions.Forget(key); err != nil {
		return fmt.Errorf("forget session %q: %w", session, err)
	}
	return nil
}

// expire forgets sessions that were not used for KeepSessions.
func (m *Manager) expire(now time.Time) {
	for _, s := range m.sessions.List("") {
		if now.Sub(s.Updated) <= m.o.KeepSessions || isClosed(m.quit) {
			continue
		}
		m.expireOne(s, now)
	}
}

func (m *Manager) expireOne(s Session, now time.Time) {
	key := sessions.Key(s.Client, s.Session)
	release, ok := m.sessionLocks.TryAcquire(key)
	if !ok {
		return
	}
	defer release()
	if known, _ := m.sessions.Get(key); now.Sub(known.Updated) <= m.o.KeepSessions {
		return // it was used in between
	}
	if err := m.sessions.Forget(key); err != nil && !errors.Is(err, ErrNoSession) {
		m.log.Warn("unused session not removed", "session", s.Session, "client", s.Client, "err", err)
	}
}
