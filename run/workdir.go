package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/internal/trash"
	"penstock/run/sessions"
	"penstock/run/store"
	"penstock/sandbox"
)

// workDir is where a run works: both are absolute; an empty home leaves HOME as
// the environment has it.
type workDir struct {
	cwd, home string
	held      *os.File // cwd, open from its check on; nil was not checked
	made      string   // the session's directory, when it was made for this run
}

// OpenDir opens a directory to be held (O_PATH: not to be read). Its Name is
// where it lies, with every link followed.
func OpenDir(path string) (*os.File, error) {
	fd, err := unix.Open(path, holdFlags, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	real, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), real), nil
}

const holdFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC

// openBelow opens a directory of our own below another, through no link: a run
// of the daemon's user may have put one in its place. openat2(2) would do it in
// one call, but RestrictSUIDSGID= of the unit answers that with ENOSYS.
func openBelow(dir, path string) (*os.File, error) {
	name, err := filepath.Rel(dir, path)
	if err != nil {
		return nil, err
	}
	at, err := unix.Open(dir, holdFlags, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	for _, step := range strings.Split(name, "/") {
		next := -1
		if step == ".." {
			err = unix.EXDEV
		} else {
			next, err = unix.Openat(at, step, holdFlags|unix.O_NOFOLLOW, 0)
		}
		err = errors.Join(err, unix.Close(at))
		if at = next; err != nil {
			break
		}
	}
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EXDEV) {
		err = fmt.Errorf("%w: %w", sandbox.ErrMoved, err)
	}
	if err != nil {
		if at >= 0 {
			err = errors.Join(err, unix.Close(at))
		}
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(at), path), nil
}

// open asks whether a run may work in a directory that is not our own.
func (s Spec) open(cwd string) (*os.File, error) {
	if s.OpenCwd == nil {
		return nil, nil
	}
	f, err := s.OpenCwd(cwd)
	if err != nil {
		return nil, fmt.Errorf("run %s: cwd %q: %w", s.ID, cwd, err)
	}
	return f, nil
}

// close lets go of what was held for the start.
func (p workDir) close() {
	if p.held != nil {
		p.held.Close()
	}
}

// remove takes back what was made for a run that was never started.
func (p workDir) remove() error {
	if p.made == "" {
		return nil
	}
	return trash.Discard(p.made)
}

// private is Spec.Home's word for a HOME of the session's or the run's own.
const private = "private"

// ownWorkDir is for a run without a session.
func ownWorkDir(d *store.Dir, s Spec) (p workDir, err error) {
	p.cwd = s.Cwd
	if p.cwd == "" {
		p.cwd = d.File(store.WorkName)
		if err = d.Mkdir(store.WorkName); err == nil {
			p.held, err = openBelow(filepath.Dir(d.Path), p.cwd)
		}
	} else {
		p.held, err = s.open(p.cwd)
	}
	if err != nil {
		return p, err
	}
	p.home = s.Home
	if s.Home == private {
		p.home = d.File(store.HomeName)
		return p, makeHome(p.home, s.HomeSeed, s.User)
	}
	return p, nil
}

// sessionWorkDir is for a run of a session: what the session has used before wins,
// since its CLI finds the conversation only there.
func (m *Manager) sessionWorkDir(spec Spec, known Session) (p workDir, err error) {
	base := m.sessions.Path(sessions.Key(spec.Client, spec.Session))
	resumes := known.CLISession != ""
	p.cwd = spec.Cwd
	switch {
	case p.cwd == "" && known.Cwd != "":
		p.cwd = known.Cwd
	case p.cwd == "":
		p.cwd = filepath.Join(base, store.WorkName)
	case resumes && filepath.Clean(p.cwd) != filepath.Clean(known.Cwd):
		return p, &SessionError{Session: spec.Session, Field: "cwd", Have: known.Cwd, Want: p.cwd}
	}
	p.home = spec.Home
	if spec.Home == private {
		p.home = filepath.Join(base, store.HomeName)
	}
	// What an image gets of the host's is the configuration's word alone.
	if resumes && known.Home != "" && spec.Image == nil {
		p.home = known.Home
	}
	own := filepath.Dir(p.cwd) == base
	if !own {
		if p.held, err = spec.open(p.cwd); err != nil {
			return p, err
		}
	}
	if p.made, err = makeDirs(base, p, spec); err == nil && own {
		p.held, err = openBelow(m.sessions.Dir(), p.cwd)
	}
	return p, err
}

// makeDirs makes the directories that are the session's own, and tells the whole's
// when it was not there before.
func makeDirs(base string, p workDir, spec Spec) (made string, err error) {
	ownCwd, ownHome := filepath.Dir(p.cwd) == base, filepath.Dir(p.home) == base
	if !ownCwd && !ownHome {
		return "", nil
	}
	switch err := store.PassableDir(base, spec.User); {
	case err == nil:
		made = base
	case !errors.Is(err, fs.ErrExist):
		return "", fmt.Errorf("session %q: %w", spec.Session, err)
	}
	if ownCwd {
		if err := freshDir(p.cwd, spec.User); err != nil {
			return made, fmt.Errorf("session %q: %w", spec.Session, err)
		}
	}
	if ownHome {
		return made, makeHome(p.home, spec.HomeSeed, spec.User)
	}
	return made, nil
}

// freshDir leaves a directory that is there as it is.
func freshDir(path string, u *User) error {
	err := os.Mkdir(path, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return u.Own(path)
}

// makeHome makes and seeds a HOME once. It appears whole or not at all: half a
// seed would never be completed.
func makeHome(path, seed string, u *User) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	next := path + ".new"
	if err := trash.Tree(next); err != nil {
		return fmt.Errorf("private home: %w", err)
	}
	err := os.Mkdir(next, 0o700)
	if err == nil && seed != "" {
		err = copySeed(next, seed)
	}
	if err == nil {
		err = store.GiveTree(next, u)
	}
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("private home: seed %q: %w", seed, err), trash.Tree(next))
	}
	return nil
}

// copySeed copies modes too, which os.CopyFS widens: a seed holds credentials.
func copySeed(to, seed string) error {
	from := os.DirFS(seed)
	if err := os.CopyFS(to, from); err != nil {
		return err
	}
	return fs.WalkDir(from, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == "." || e.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return os.Chmod(filepath.Join(to, path), info.Mode().Perm())
	})
}

func envValue(env []string, name string) string {
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}
