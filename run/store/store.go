// Package store is what stays on disk of runs: the state directory, one daemon's
// at a time, with what the daemon believes later where no run can write.
//
//	StateDir ── lock, held by this daemon alone (statedir.go; checkdir.go tries it)
//	 ├─ runs/ID/      Dir: what the run's processes write: spool, stderr, tmp, work, home
//	 │                (directory.go; stdio.go: stdin with the prompt, and the outputs; user.go)
//	 ├─ sessions/KEY/ working directories and HOMEs of sessions
//	 ├─ trash/        what is being deleted
//	 └─ store/        Store: out of the runs' reach (store.go)
//	     ├─ runs/ID/run.json         Record, what the API shows (record.go, bounds.go)
//	     ├─ runs/ID/checkpoint.json  Checkpoint, what the next daemon needs of a durable run (checkpoint.go)
//	     ├─ runs/ID/prompt, system   what its CLI may still have to be told (texts.go)
//	     ├─ runs/ID/said             StdinLog, how much its CLI was told (stdinlog.go)
//	     ├─ runs/ID/end.json         why it ended, until its record says so
//	     ├─ runs/ID/asked, asked/ID  what its client asked: of a durable run, of any other (asked.go)
//	     ├─ pending/run-ID           a request that was answered, and whose run is not started yet (pending.go)
//	     ├─ discard/ID               that no more than the record is to stay (discard.go)
//	     ├─ status/ID                what process 1 of a run in an image says of it (status.go)
//	     ├─ history/                 the index of what has ended (package history; survey.go)
//	     ├─ sessions/KEY.json        Session (session.go)
//	     ├─ chains                   the chains that sessions have had (package sessions)
//	     └─ pruned                   Pruned, the durable runs that are not kept any more (pruned.go)
//
// An order holds for each durable run: checkpoint, record, names flushed, start
// (run.Manager.Start): so a daemon that dies leaves what the next one needs.
// A run that isn't durable has no files in the store: its record is in the index, from
// its start on.
// What an earlier version left (will.json) is read once, by takeover.go.
package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"penstock/internal/atomicfile"
	"penstock/sandbox"
)

// Store is where the daemon keeps what it believes later: records, checkpoints,
// sessions, how much a CLI was told. Runs can't write there (see Lock.Protect);
// what lies in a run's own directory is the run's word. A daemon that can't keep
// its runs out of its state directory has its store beside that, or in the user's runtime
// directory, which a reboot empties, and writes a copy into the state directory
// for the time after that.
type Store struct {
	places []string // the first is read; the second, where there is one, is the copy
}

const (
	storeName = "store"
	// besideSuffix makes the name of a store beside the state directory, where such a
	// directory was made for it, as the unit's StateDirectory= does: the state directory
	// is the agents' HOME there, in which they make new files.
	besideSuffix = ".store"
	// formatName is the file that says that what an earlier daemon left was
	// taken over, and from then on only the store is believed.
	formatName = "format"
	format     = "2\n"
)

// Format is the number of the state directory's layout. A program that doesn't
// know it can't take over from one that does.
const Format = 2

// Places are the store of a state directory, and its copy where there is one.
func Places(stateDir string) []string { return storeOf(stateDir).places }

// Protection says what will keep runs from writing to the store of a state
// directory, or why nothing will, without making anything.
func Protection(stateDir string) (wall string, err error) {
	if sandbox.CanMount() {
		return "hidden from runs in a mount namespace", nil
	}
	s := storeOf(stateDir)
	if err := sandbox.Protectable(filepath.Dir(resolved(s.places[0]))); err != nil {
		return "", err
	}
	if len(s.places) > 1 {
		return "in " + filepath.Dir(s.places[0]) + ", closed to runs by Landlock", nil
	}
	return "closed to runs by Landlock", nil
}

// Exists tells whether a daemon that has one was ever on this state directory.
func Exists(stateDir string) bool {
	_, err := os.Lstat(filepath.Join(Places(stateDir)[0], formatName))
	return err == nil
}

func storeOf(stateDir string) Store {
	if beside := resolved(stateDir) + besideSuffix; isPrivateOf(beside, ownerOf(stateDir)) && (os.Geteuid() == 0 || sandbox.Protectable(filepath.Dir(beside)) == nil) {
		return Store{[]string{beside}}
	}
	inside := filepath.Join(stateDir, storeName)
	if os.Geteuid() == 0 || sandbox.Protectable(resolved(stateDir)) == nil {
		return Store{[]string{inside}}
	}
	if dir := runtimeDir(); dir != "" {
		sum := sha256.Sum256([]byte(resolved(stateDir)))
		return Store{[]string{filepath.Join(dir, "penstock-"+hex.EncodeToString(sum[:8])), inside}}
	}
	return Store{[]string{inside}}
}

// resolved is the path without links; one that isn't there yet stays as it is.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// runtimeDir is $XDG_RUNTIME_DIR where it is the user's alone and runs can be
// kept out of a directory in it; else "".
func runtimeDir() string {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if !filepath.IsAbs(dir) {
		return ""
	}
	if dir = resolved(filepath.Clean(dir)); !isPrivateOf(dir, os.Geteuid()) || sandbox.Protectable(dir) != nil {
		return ""
	}
	return dir
}

// isPrivateOf tells a directory of a user's that is closed to all others.
func isPrivateOf(dir string, uid int) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return false
	}
	is, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(is.Uid) == uid
}

// ownerOf is whose a directory is, -1 where that isn't known. Root's `penstock handover`
// asks it about the daemon of another user.
func ownerOf(dir string) int {
	if info, err := os.Stat(dir); err == nil {
		if is, ok := info.Sys().(*syscall.Stat_t); ok {
			return int(is.Uid)
		}
	}
	return -1
}

// Of are the places of one file or directory.
func (s Store) Of(names ...string) []string {
	var out []string
	for _, p := range s.places {
		out = append(out, filepath.Join(append([]string{p}, names...)...))
	}
	return out
}

// Runs is where the records are read from.
func (s Store) Runs() string     { return filepath.Join(s.places[0], "runs") }
func (s Store) sessions() string { return filepath.Join(s.places[0], "sessions") }

// Protect are the paths that runs must not write to, for spawn.Options.Protect.
func (l *Lock) Protect() []string {
	s := l.State
	out := []string{resolved(s.Store.places[0])}
	if os.Geteuid() == 0 || filepath.Dir(s.Store.places[0]) == s.Path {
		out = append(out, resolved(s.lockPath()))
	}
	return out
}

// openStore makes the store, and the first time takes over what an earlier
// daemon has left. The lock is held.
func (s *StateDir) openStore() error {
	s.Store = storeOf(s.Path)
	if err := s.fillStore(); err != nil {
		return err
	}
	return s.openHistory()
}

func (s *StateDir) fillStore() error {
	fresh, err := s.Store.isFresh()
	if err != nil {
		return err
	}
	for _, name := range []string{"runs", "sessions", statusName, askedName, discardName, pendingName} {
		for _, p := range s.Store.Of(name) {
			if err := os.MkdirAll(p, 0o700); err != nil {
				return unwritable(s.Path, err)
			}
			if err := os.Chmod(p, 0o700); err != nil { // see regainAccess
				return unwritable(s.Path, err)
			}
		}
	}
	if !fresh {
		return nil
	}
	if err := s.takeOver(); err != nil {
		return fmt.Errorf("state directory: %s: take over what an earlier daemon has left: %w", s.Path, err)
	}
	for _, p := range s.Store.Of(formatName) {
		if err := atomicfile.Replace(p, []byte(format), (*os.File).Sync); err != nil {
			return unwritable(s.Path, err)
		}
	}
	if err := s.forgetLegacy(); err != nil {
		return unwritable(s.Path, err)
	}
	return nil
}

func (s Store) isFresh() (bool, error) {
	text, err := ReadSmall(filepath.Join(s.places[0], formatName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("state directory: %w", err)
	case string(text) != format:
		return false, fmt.Errorf("state directory: %s: format %q: not known here (hint: it is a later version's)", s.places[0], strings.TrimSpace(string(text)))
	}
	return false, nil
}
