package sessions

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
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

// Session is one conversation that a client has named.
type Session = store.Session

// ErrNoSession is wrapped when a client has no session of that name.
var ErrNoSession = errors.New("no such session")

// Registry has all sessions of a state directory, in memory and written through, one file
// each. Safe for concurrent use.
type Registry struct {
	dir   string   // of their working directories and HOMEs
	files []string // of what is known of them: in the store

	mu     sync.Mutex
	known  map[string]Session // by key; changed by set and unset only
	ofRuns map[string]string  // keys of those that go with their last run, by that run
	chains chains
}

// Key is a file name for any two strings.
func Key(client, session string) string {
	sum := sha256.Sum256([]byte(client + "\x00" + session))
	return hex.EncodeToString(sum[:])
}

// Open loads what is there; warn hears of files that can't be used. Chains are remembered
// for at least a period.
func Open(st *store.StateDir, period time.Duration, warn func(path string, err error)) (*Registry, error) {
	r := &Registry{
		dir: st.Sessions(), files: st.Store.Of("sessions"), known: map[string]Session{}, ofRuns: map[string]string{},
		chains: chains{of: map[chainID]string{}, expected: map[chainID]string{}},
	}
	entries, err := os.ReadDir(r.files[0])
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	now := time.Now()
	r.chains.seen, err = openSeen(st.Store.Of(store.ChainsName), period, now)
	if store.IsTransient(err) || errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	if err != nil {
		warn(r.chains.seen.paths[0], err)
	}
	for _, e := range entries {
		key, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		path := filepath.Join(r.files[0], e.Name())
		one, err := readSession(path)
		if err == nil && Key(one.Client, one.Session) != key {
			err = errors.New("name and content differ")
		}
		if err != nil {
			warn(path, err)
			continue
		}
		one.Updated = notAhead(now, one.Updated)
		r.set(key, one)
		if err := r.chains.index(key, one, now); err != nil {
			warn(path, err)
		}
	}
	return r, nil
}

// notAhead is when a session of an earlier daemon is taken to have been used. One dated
// ahead, which would never expire, is as old as this daemon: the clock was wrong then, or
// is now.
func notAhead(now, at time.Time) time.Time { return now.Add(-max(0, now.Sub(at))) }

func readSession(path string) (s Session, err error) {
	data, err := store.ReadSmall(path)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(data, &s)
}

// Get gives what is known of a session.
func (r *Registry) Get(key string) (Session, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one, ok := r.known[key]
	return one, ok
}

// Begin notes the turn that a run is about to have, before it is started: from then on no
// other run is the last one, and what the conversation will be nothing knows. undo is for a
// start that came to nothing. flush is the run's.
func (r *Registry) Begin(one Session, flush atomicfile.Flusher) (undo func() error, err error) {
	key := Key(one.Client, one.Session)
	one.Chain = store.Chain{}
	r.mu.Lock()
	defer r.mu.Unlock()
	before, known := r.known[key]
	if err := r.put(key, one, flush); err != nil {
		return nil, err
	}
	r.chains.forget(key, before)
	return func() error { return r.restore(key, one.LastRun, before, known, flush) }, nil
}

// restore puts back what was known of a session before a turn that it never had.
func (r *Registry) restore(key, run string, before Session, known bool, flush atomicfile.Flusher) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch now := r.known[key]; {
	case now.LastRun != run:
		return nil
	case known:
		if err := r.put(key, before, flush); err != nil {
			return err
		}
		return r.chains.index(key, before, time.Now())
	}
	if err := r.removeRecords(key); err != nil {
		return fmt.Errorf("session %q: %w", before.Session, err)
	}
	r.unset(key)
	return nil
}

// Put writes the session at once: a run may be killed at any moment and its
// conversation must still be found. flush is its run's. The chain stays as it is.
func (r *Registry) Put(one Session, flush atomicfile.Flusher) error {
	key := Key(one.Client, one.Session)
	r.mu.Lock()
	defer r.mu.Unlock()
	one.Chain = r.known[key].Chain
	return r.put(key, one, flush)
}

// put writes a session with mu held; the index of chains is the caller's.
func (r *Registry) put(key string, one Session, flush atomicfile.Flusher) error {
	if err := store.WriteJSON(r.records(key), one, store.SmallMax, flush); err != nil {
		return fmt.Errorf("session %q: %w", one.Session, err)
	}
	r.set(key, one)
	return nil
}

// set and unset change what is known, with mu held.
func (r *Registry) set(key string, one Session) {
	r.unset(key)
	r.known[key] = one
	if one.OfRun && one.LastRun != "" {
		r.ofRuns[one.LastRun] = key
	}
}

func (r *Registry) unset(key string) {
	if last := r.known[key].LastRun; r.ofRuns[last] == key {
		delete(r.ofRuns, last)
	}
	delete(r.known, key)
}

// OfRun gives the session that goes with a run, which was its last one.
func (r *Registry) OfRun(run string) (key string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key, ok = r.ofRuns[run]
	return key, ok
}

// LastRuns are the runs with which a session goes.
func (r *Registry) LastRuns() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.ofRuns))
}

// Path is where the session's own directories lie.
func (r *Registry) Path(key string) string { return filepath.Join(r.dir, key) }

// Dir is where those of all sessions lie.
func (r *Registry) Dir() string { return r.dir }

// records are the places of what is known of a session.
func (r *Registry) records(key string) (out []string) {
	for _, dir := range r.files {
		out = append(out, filepath.Join(dir, key+".json"))
	}
	return out
}

// List is newest first; an empty client is all of them.
func (r *Registry) List(client string) []Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Session
	for _, one := range r.known {
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

// Forget is for the holder of the session's lock. It is whole or not at all: what
// can't be deleted is in the trash then.
func (r *Registry) Forget(key string) error {
	taken, err := r.drop(key)
	if err != nil {
		return err
	}
	trash.Delete(taken) // unlocked: it may be large
	return nil
}

// drop takes the session out of the registry and its directory out of its place.
func (r *Registry) drop(key string) (taken string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one, ok := r.known[key]
	if !ok {
		return "", ErrNoSession
	}
	// Of a crash in between Sweep sees to the rest.
	if err = r.removeRecords(key); err == nil {
		taken, err = trash.Move(r.Path(key))
	}
	if err != nil {
		return "", errors.Join(err, store.WriteJSON(r.records(key), one, store.SmallMax, nil))
	}
	r.unset(key)
	r.chains.forget(key, one)
	return taken, nil
}

func (r *Registry) removeRecords(key string) error {
	for _, path := range slices.Backward(r.records(key)) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Sweep sets aside directories of sessions that the registry doesn't know: a crash
// came between the two, when the session was made or when it was forgotten. It is
// for the time when all runs of an earlier daemon have been adopted, and none has
// been started.
func (r *Registry) Sweep() error {
	entries, err := os.ReadDir(r.dir)
	errs := []error{err}
	for _, e := range entries {
		key := e.Name()
		if !e.IsDir() || len(key) != len(Key("", "")) || strings.Trim(key, "0123456789abcdef") != "" {
			continue
		}
		if _, known := r.Get(key); known || r.hasFile(key) {
			continue
		}
		taken, err := trash.Move(r.Path(key))
		errs = append(errs, err)
		if taken == r.Path(key) {
			trash.Delete(taken) // there is no other place for it
		}
	}
	return errors.Join(errs...)
}

// hasFile tells whether there is a file of the session, be it unreadable.
func (r *Registry) hasFile(key string) bool {
	for _, path := range append(r.records(key), r.Path(key)+".json") {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}
