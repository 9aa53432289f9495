package run

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"penstock/internal/atomicfile"
	"penstock/internal/trash"
	"penstock/run/store"
)

var (
	// ErrNoSession is wrapped when a client has no session of that name.
	ErrNoSession = errors.New("no such session")
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

// sessions are kept in memory and written through, one file each.
type sessions struct {
	dir   string   // of their working directories and HOMEs
	files []string // of what is known of them: in the store

	mu    sync.Mutex
	known map[string]Session // by key
}

// sessionKey is a file name for any two strings.
func sessionKey(client, session string) string {
	sum := sha256.Sum256([]byte(client + "\x00" + session))
	return hex.EncodeToString(sum[:])
}

// openSessions loads what is there; warn hears of files that can't be used.
func openSessions(st *store.StateDir, warn func(path string, err error)) (*sessions, error) {
	s := &sessions{dir: st.Sessions(), files: st.Store.Of("sessions"), known: map[string]Session{}}
	entries, err := os.ReadDir(s.files[0])
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	now := time.Now()
	for _, e := range entries {
		key, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		path := filepath.Join(s.files[0], e.Name())
		one, err := readSession(path)
		if err == nil && sessionKey(one.Client, one.Session) != key {
			err = errors.New("name and content differ")
		}
		if err != nil {
			warn(path, err)
			continue
		}
		one.Updated = notAhead(now, one.Updated) // one that is dated ahead would never expire
		s.known[key] = one
	}
	return s, nil
}

func readSession(path string) (s Session, err error) {
	data, err := store.ReadSmall(path)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(data, &s)
}

func (s *sessions) get(key string) (Session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.known[key]
	return one, ok
}

// put writes the session at once: a run may be killed at any moment and its
// conversation must still be found. flush is its run's.
func (s *sessions) put(one Session, flush atomicfile.Flusher) error {
	key := sessionKey(one.Client, one.Session)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := store.WriteJSON(s.records(key), one, store.SmallMax, flush); err != nil {
		return fmt.Errorf("session %q: %w", one.Session, err)
	}
	s.known[key] = one
	return nil
}

func (s *sessions) path(key string) string { return filepath.Join(s.dir, key) }

// records are the places of what is known of a session.
func (s *sessions) records(key string) (out []string) {
	for _, dir := range s.files {
		out = append(out, filepath.Join(dir, key+".json"))
	}
	return out
}

// list is newest first; an empty client is all of them.
func (s *sessions) list(client string) []Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Session
	for _, one := range s.known {
		if client == "" || one.Client == client {
			out = append(out, one)
		}
	}
	slices.SortFunc(out, func(a, b Session) int {
		if c := b.Updated.Compare(a.Updated); c != 0 {
			return c
		}
		return strings.Compare(a.Session, b.Session)
	})
	return out
}

// forget is for the holder of the session's lock. It is whole or not at all: what
// can't be deleted is in the trash then.
func (s *sessions) forget(key string) error {
	taken, err := s.drop(key)
	if err != nil {
		return err
	}
	trash.Delete(taken) // unlocked: it may be large
	return nil
}

// drop takes the session out of the index and its directory out of its place.
func (s *sessions) drop(key string) (taken string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.known[key]
	if !ok {
		return "", ErrNoSession
	}
	// Of a crash in between sweep sees to the rest.
	for _, path := range slices.Backward(s.records(key)) {
		if err = os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			break
		}
		err = nil
	}
	if err == nil {
		taken, err = trash.Move(s.path(key))
	}
	if err != nil {
		return "", errors.Join(err, store.WriteJSON(s.records(key), one, store.SmallMax, nil))
	}
	delete(s.known, key)
	return taken, nil
}

// SessionKnown gives the CLI's own id of a client's session; false when the
// CLI never told one, and a run of it would start a new conversation.
func (m *Manager) SessionKnown(client, session string) (cliSession string, ok bool) {
	s, _ := m.sessions.get(sessionKey(client, session))
	return s.CLISession, s.CLISession != ""
}

// Sessions are a client's sessions, newest first; an empty client is all of them.
func (m *Manager) Sessions(client string) []Session { return m.sessions.list(client) }

// Forget drops a session with its directories: the next run of that name
// starts anew. What the CLI itself keeps in a HOME of the user's own stays.
func (m *Manager) Forget(client, session string) error {
	key := sessionKey(client, session)
	release, ok := m.sessionLocks.tryAcquire(key)
	if !ok {
		return fmt.Errorf("forget session %q: %w", session, ErrSessionBusy)
	}
	defer release()
	if err := m.sessions.forget(key); err != nil {
		return fmt.Errorf("forget session %q: %w", session, err)
	}
	return nil
}

// sweep sets aside directories of sessions that the index doesn't know: a crash
// came between the two, when the session was made or when it was forgotten. It is
// for the time when all runs of an earlier daemon have been adopted, and none has
// been started.
func (s *sessions) sweep() error {
	entries, err := os.ReadDir(s.dir)
	errs := []error{err}
	for _, e := range entries {
		key := e.Name()
		if !e.IsDir() || len(key) != len(sessionKey("", "")) || strings.Trim(key, "0123456789abcdef") != "" {
			continue
		}
		if _, known := s.get(key); known || s.indexed(key) {
			continue
		}
		taken, err := trash.Move(s.path(key))
		errs = append(errs, err)
		if taken == s.path(key) {
			trash.Delete(taken) // there is no other place for it
		}
	}
	return errors.Join(errs...)
}

// indexed tells whether there is a file of the session, be it unreadable.
func (s *sessions) indexed(key string) bool {
	for _, path := range append(s.records(key), s.path(key)+".json") {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}
