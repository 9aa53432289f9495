package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"penstock/internal/trash"
	"penstock/run/history"
)

// StateDir is the daemon's state directory, held by one daemon at a time.
type StateDir struct {
	Path    string
	Lock    *os.File
	Store   Store
	History *history.Index
	Survey  Survey
}

// Lock is a state directory held for this daemon alone.
type Lock struct{ State *StateDir }

// LockDir takes the state directory before Open does: before anything of another
// daemon's is touched, such as the groups that spawn.Open sweeps. Give it to
// Open in Options, whose Manager then lets it go; else Close it.
func LockDir(dir string) (*Lock, error) {
	s, err := Open(dir)
	if err != nil {
		return nil, err
	}
	return &Lock{s}, nil
}

// InheritLock is LockDir with the lock that Manager.Detach has left; f is the Lock's to
// close, also when it fails.
func InheritLock(dir string, f *os.File) (*Lock, error) {
	s, err := inheritStateDir(dir, f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Lock{s}, nil
}

// Close gives the directory free. After Open took the lock it is the Manager's
// to close.
func (l *Lock) Close() error { return l.State.Close() }

// Open also takes the lock. The error names the other daemon where there
// is one.
func Open(dir string) (*StateDir, error) {
	s, err := makeStateDir(dir)
	if err != nil {
		return nil, err
	}
	if err := probeWrite(dir); err != nil {
		return nil, unwritable(dir, err)
	}
	if err := s.acquire(); err != nil {
		return nil, err
	}
	if err := s.openStore(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// inheritStateDir takes a lock that f holds already. A full disk is no reason to
// refuse it: the runs that came with it would be ended.
func inheritStateDir(dir string, f *os.File) (*StateDir, error) {
	s, err := makeStateDir(dir)
	if err != nil {
		return nil, err
	}
	held, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if is, ok := held.Sys().(*syscall.Stat_t); ok && is.Nlink == 0 {
		// It was removed as a stale one, and it says nothing any more: the holder
		// of the file that has the name now holds the directory.
		if err := s.acquire(); err != nil {
			return nil, err
		}
		if err := s.openStore(); err != nil {
			return nil, errors.Join(err, s.Close())
		}
		return s, f.Close()
	}
	named, err := os.Lstat(s.lockPath())
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if !os.SameFile(named, held) {
		return nil, fmt.Errorf("state directory: %s: the lock that was left to us is another directory's", dir)
	}
	s.Lock = f
	if err := s.lockAndSign(); err != nil {
		return nil, err
	}
	return s, s.openStore()
}

// makeStateDir makes the directory (0700).
func makeStateDir(dir string) (*StateDir, error) {
	s, err := stateDirAt(dir)
	if err != nil {
		return nil, err
	}
	for _, d := range []string{dir, s.Runs(), s.Sessions()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, unwritable(dir, err)
		}
	}
	if err := closeToOthers(dir, false); err != nil {
		return nil, err
	}
	return s, nil
}

func stateDirAt(dir string) (*StateDir, error) {
	if dir == "" || !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("state directory: %q: not an absolute path (hint: set state_dir)", dir)
	}
	return &StateDir{Path: dir}, nil
}

func (s *StateDir) lockPath() string { return filepath.Join(s.Path, "lock") }

// Runs and Sessions are where the directories of runs and sessions lie.
func (s *StateDir) Runs() string     { return filepath.Join(s.Path, "runs") }
func (s *StateDir) Sessions() string { return filepath.Join(s.Path, "sessions") }

func unwritable(dir string, err error) error {
	hint := "set state_dir to a directory of the daemon's own, or name it in ReadWritePaths= of the unit"
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		hint = "make room on its file system, or in its quota"
	}
	return fmt.Errorf("state directory: %s: not writable: %w (hint: %s)", dir, err, hint)
}

// closeToOthers takes away what others may read or write; the search bit may
// stay (see LetOthersPass). A trial changes nothing and fails alike.
func closeToOthers(dir string, trial bool) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("state directory: %s: %w", dir, err)
	}
	if info.Mode().Perm()&0o066 == 0 {
		return nil
	}
	mode := os.FileMode(0o700)
	if trial {
		mode = info.Mode()
	}
	if err := os.Chmod(dir, mode); err != nil {
		return fmt.Errorf("state directory: %s: open to others: %w", dir, err)
	}
	return nil
}

func probeWrite(dir string) error {
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return err
	}
	_, err = f.Write([]byte("x"))
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}

// Probe makes and removes a file in each place where a run has files.
func (s *StateDir) Probe() error {
	return errors.Join(probeWrite(s.Path), probeWrite(s.Store.places[0]))
}

// acquire locks the directory with flock(2): the lock goes with the process,
// however it ends. The file tells the holder's pid.
func (s *StateDir) acquire() error {
	f, err := os.OpenFile(s.lockPath(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return unwritable(s.Path, err)
	}
	s.Lock = f
	if err := s.lockAndSign(); err != nil {
		return errors.Join(err, f.Close())
	}
	return nil
}

// ErrInUse is wrapped by the refusal of a state directory that another daemon holds.
var ErrInUse = errors.New("in use by another daemon")

func (s *StateDir) flock() error {
	err := lockSoon(s.Lock)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("state directory: %s: %w (pid %s): stop it or set another state_dir", s.Path, ErrInUse, holder(s.Lock))
	}
	if err != nil {
		return fmt.Errorf("state directory: lock %s: %w", s.lockPath(), err)
	}
	return nil
}

func (s *StateDir) lockAndSign() error {
	if err := s.flock(); err != nil {
		return err
	}
	var err error
	f := s.Lock
	if pid := strconv.Itoa(os.Getpid()); holder(f) != pid {
		err = f.Truncate(0)
		if err == nil {
			_, err = f.WriteAt([]byte(pid+"\n"), 0)
		}
	}
	if err != nil {
		return fmt.Errorf("state directory: lock %s: %w", s.lockPath(), err)
	}
	return nil
}

// lockWaitMax bounds how long the lock outlives a daemon that was killed amid a
// start: until it executes, the child has all descriptors that the daemon had.
const lockWaitMax = 2 * time.Second

// lockSoon takes the lock, and waits for it a little where its holder is gone.
func lockSoon(f *os.File) error {
	for end := time.Now().Add(lockWaitMax); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || !isGone(holder(f)) || time.Now().After(end) {
			return err
		}
	}
}

// isGone tells of a process by its pid, as the lock has it: a zombie is.
func isGone(pid string) bool {
	text, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
	}
	_, state, _ := strings.Cut(string(text[bytes.LastIndexByte(text, ')')+1:]), " ")
	return strings.HasPrefix(state, "Z")
}

func holder(f *os.File) string {
	buf := make([]byte, 32)
	n, _ := f.ReadAt(buf, 0)
	if pid := strings.TrimSpace(string(buf[:n])); pid != "" {
		return pid
	}
	return "unknown"
}

// LetOthersPass lets another user's process reach its own directories below the
// state directory by name. No other user can list it, and what isn't theirs stays 0600.
func (s *StateDir) LetOthersPass() error {
	for _, d := range []string{s.Path, s.Runs(), s.Sessions()} {
		if err := os.Chmod(d, 0o711); err != nil {
			return fmt.Errorf("state directory: %s: let other users pass: %w", d, err)
		}
	}
	return nil
}

// Close gives the lock away.
func (s *StateDir) Close() error {
	var err error
	if s.History != nil {
		err = s.History.Close()
	}
	return errors.Join(err, s.Lock.Close())
}

// EmptyTrash deletes what was left.
func (s *StateDir) EmptyTrash() error {
	var errs []error
	for _, dir := range append(s.Store.Of(trash.Name), filepath.Join(s.Path, trash.Name)) {
		if err := trash.Empty(dir); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// unfinished are names of files that were being written: what a crash leaves of
// atomicfile, of probeWrite and of `penstock check`.
var unfinished = []string{".new-*", ".probe-*", ".penstock-check-*"}

// SweepUnfinished removes such files. It is for the holder of the lock, before
// anything is written there.
func (s *StateDir) SweepUnfinished() error {
	var errs []error
	for _, dir := range append(slices.Concat(s.Store.Of(), s.Store.Of("sessions"), s.Store.Of(pendingName)), s.Path, s.Sessions(), s.Store.Of(historyName)[0], s.askedDir()) {
		entries, err := os.ReadDir(dir)
		if !errors.Is(err, fs.ErrNotExist) { // the index is made with its first line
			errs = append(errs, err)
		}
		for _, e := range entries {
			for _, form := range unfinished {
				if ok, _ := filepath.Match(form, e.Name()); ok && e.Name() != witnessName {
					errs = append(errs, trash.Tree(filepath.Join(dir, e.Name())))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// Removed tells that a place without which no run can start is not there any more.
func (s *StateDir) Removed() bool {
	for _, dir := range []string{s.Runs(), s.Store.Runs()} {
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}
