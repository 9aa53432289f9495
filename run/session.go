package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"penstock/internal/atomicfile"
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
// waits is called where it has to, once it has its place in the line; nil is nothing.
// Errors: ctx's own; *spawn.StartError when the manager ends.
func (m *Manager) LockSession(ctx context.Context, client, session string, waits func()) (*SessionLock, error) {
	key := sessions.Key(client, session)
	release, err := m.sessionLocks.Acquire(ctx, m.ending, key, waits)
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

// ClaimSession takes the lock of a session for the turn after lastRun, iff it is free, the
// session is the backend's, its CLI has told what it calls it, and lastRun was its last
// turn and whole: completed, and kept. Of several at once one gets it. It doesn't wait: a
// run that has just answered holds its session until it has ended.
func (m *Manager) ClaimSession(client, session, backend, lastRun string) (*SessionLock, bool) {
	key := sessions.Key(client, session)
	lock, ok := m.claim(key, func(s Session) bool {
		return s.Backend == backend && s.LastRun == lastRun && lastRun != ""
	})
	if !ok {
		return nil, false
	}
	s, _ := m.sessions.Get(key)
	if t, err := m.lastTurn(lastRun); err == nil && t.isOf(client, session) && t.isWhole() && t.CLISession == s.CLISession {
		return lock, true
	}
	lock.Release()
	return nil, false
}

// ClaimChain is ClaimSession by what was said: it takes the lock of the one session of
// the client and of the backend whose conversation is that, where no other session of
// the client ever had the same one. A session that will be that as soon as its run has
// ended is named, and not ok: wait for it (LockSession, Release), and ask again.
func (m *Manager) ClaimChain(client, backend string, chain Chain) (session string, lock *SessionLock, ok bool) {
	key, settles, _ := m.sessions.ByChain(client, chain)
	if settles {
		s, _ := m.sessions.Get(key)
		return s.Session, nil, false
	}
	lock, ok = m.claim(key, func(s Session) bool {
		now, settles, _ := m.sessions.ByChain(client, chain)
		session = s.Session
		return now == key && !settles && s.Backend == backend
	})
	if !ok {
		return "", nil, false
	}
	return session, lock, true
}

// claim takes a session's lock where it is free and the session is what it is to be, which
// no turn can change from then on.
func (m *Manager) claim(key string, is func(Session) bool) (*SessionLock, bool) {
	fits := func() bool {
		s, known := m.sessions.Get(key)
		return known && s.CLISession != "" && is(s)
	}
	if !fits() { // without the lock: another claim may be right
		return nil, false
	}
	release, ok := m.sessionLocks.TryAcquire(key)
	if !ok {
		return nil, false
	}
	if !fits() {
		release()
		return nil, false
	}
	return &SessionLock{key, release}, true
}

// lastTurn is a run as the last turn of its session, be it kept or just ending.
type lastTurn struct {
	Record
	settle bool // its CLI was to exit by itself after its last word
}

func (m *Manager) lastTurn(run string) (t lastTurn, err error) {
	if r := m.liveRun(run); r != nil {
		return r.lastTurn(), nil
	}
	_, record, cp, err := m.recall(run)
	return lastTurn{record, cp != nil && cp.Settle}, err
}

// isWhole tells whether the CLI has all of the turn: it was completed, and what it had to
// save after that was not cut short.
func (t lastTurn) isWhole() bool {
	return t.State == Finished && t.Cause == outcome.Completed && t.Warning == "" && (!t.settle || t.Exit != nil && *t.Exit == 0)
}

func (t lastTurn) isOf(client, session string) bool {
	return t.Client == client && t.Session == session
}

// SetChain tells the conversation after a turn, before a client is told its last word: from
// when the run has ended, where it was whole, ClaimChain finds the session by it. It is right
// from the run's last word on. Whatever comes of it, no other session is found by the chain
// any more.
// Errors: sessions.ErrNotLast; ErrSessionBusy where another run has the session;
// fs.ErrNotExist where the run isn't kept.
func (m *Manager) SetChain(client, session, run string, chain Chain) error {
	err := m.tellChain(client, session, run, chain)
	if err != nil {
		return fmt.Errorf("chain of session %q: run %s: %w", session, run, err)
	}
	return nil
}

// NoteChain is for a conversation that a client is about to be told and that no session is to
// be found by: from then on it finds none.
func (m *Manager) NoteChain(client string, chain Chain) error {
	return m.sessions.Say(client, "", chain)
}

func (m *Manager) tellChain(client, session, run string, chain Chain) error {
	if chain == (Chain{}) {
		return errors.New("none was given")
	}
	unsaved := m.sessions.Say(client, session, chain)
	err := m.giveChain(client, session, run, chain)
	if err != nil {
		m.sessions.Unexpect(client, session, chain)
	}
	return errors.Join(unsaved, err)
}

// giveChain has the session get the chain when the run has ended, which may be now.
func (m *Manager) giveChain(client, session, run string, chain Chain) error {
	if r := m.liveRun(run); r != nil {
		if !r.lastTurn().isOf(client, session) {
			return sessions.ErrNotLast
		}
		before, ok := r.expectChain(chain)
		if ok && before != chain {
			m.sessions.Unexpect(client, session, before)
		}
		if ok {
			return nil
		}
	} else if m.sessionLocks.Held(sessions.Key(client, session)) {
		return ErrSessionBusy
	}
	t, err := m.lastTurn(run)
	if err != nil {
		return err
	}
	if !t.isOf(client, session) {
		return sessions.ErrNotLast
	}
	return m.setChain(t, chain)
}

// setChain is for a run that has ended.
func (m *Manager) setChain(t lastTurn, chain Chain) error {
	if !t.isWhole() {
		return fmt.Errorf("the turn is not whole: %s", cmp.Or(t.Warning, t.Message, string(t.Cause)))
	}
	var flush atomicfile.Flusher
	if t.Durable {
		flush = m.o.flush
	}
	return m.sessions.SetChain(sessions.Key(t.Client, t.Session), t.ID, t.CLISession, chain, flush)
}

// Sessions are a client's sessions, newest first; an empty client is all of them. How they
// are found by what was said is left out.
func (m *Manager) Sessions(client string) []Session {
	all := m.sessions.List(client)
	for i := range all {
		all[i].Chain, all[i].LastRun, all[i].OfRun = Chain{}, "", false
	}
	return all
}

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

// forgetOfRun drops the session that goes with a run that isn't kept any more. One that has a
// turn goes later, with the run of that, or by forgetOfRuns where that comes to nothing.
func (m *Manager) forgetOfRun(run string) {
	key, ok := m.sessions.OfRun(run)
	if !ok {
		return
	}
	release, ok := m.sessionLocks.TryAcquire(key)
	if !ok {
		return
	}
	defer release()
	if now, ok := m.sessions.OfRun(run); !ok || now != key {
		return // it has gone on in between
	}
	if err := m.sessions.Forget(key); err != nil && !errors.Is(err, ErrNoSession) {
		m.log.Warn("session of a run that is gone not removed", "run", run, "again_in", pruneEvery, "err", err)
	}
}

// forgetOfRuns is forgetOfRun for all that an earlier daemon has left, and that could not be
// dropped when it was time.
func (m *Manager) forgetOfRuns() {
	if !m.complete.Load() {
		return
	}
	for _, run := range m.sessions.LastRuns() {
		if !m.isKnown(run) {
			m.forgetOfRun(run)
		}
	}
}

// expire forgets sessions that were not used for KeepSessions.
func (m *Manager) expire(now time.Time) {
	if err := m.sessions.SaveChains(); err != nil {
		m.log.Warn("which chains sessions have had is not saved", "again_in", pruneEvery, "err", err)
	}
	m.forgetOfRuns()
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
