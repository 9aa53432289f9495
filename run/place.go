package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// place is where a run works: both are absolute; an empty home leaves HOME as
// the environment has it.
type place struct {
	cwd, home string
	made      string // the session's directory, when it was made for this run
}

// remove takes back what was made for a run that was never started.
func (p place) remove() error {
	if p.made == "" {
		return nil
	}
	return removeTree(p.made)
}

// private is Spec.Home's word for a HOME of the session's or the run's own.
const private = "private"

// ownPlace is for a run without a session.
func (d *directory) ownPlace(s Spec) (p place, err error) {
	p.cwd = s.Cwd
	if p.cwd == "" {
		p.cwd = d.file(workName)
		if err := d.mkdir(workName); err != nil {
			return p, err
		}
	}
	if s.Home == private {
		p.home = d.file(homeName)
		return p, makeHome(p.home, s.HomeSeed, s.User)
	}
	return p, nil
}

// place is for a run of a session: what the session has used before wins,
// since its CLI finds the conversation only there.
func (s *sessions) place(spec Spec, known Session) (p place, err error) {
	base := s.path(sessionKey(spec.Client, spec.Session))
	resumes := known.CLISession != ""
	p.cwd = spec.Cwd
	switch {
	case p.cwd == "" && known.Cwd != "":
		p.cwd = known.Cwd
	case p.cwd == "":
		p.cwd = filepath.Join(base, workName)
	case resumes && filepath.Clean(p.cwd) != filepath.Clean(known.Cwd):
		return p, &SessionError{Session: spec.Session, Field: "cwd", Have: known.Cwd, Want: p.cwd}
	}
	if spec.Home == private {
		p.home = filepath.Join(base, homeName)
	}
	if resumes && known.Home != "" {
		p.home = known.Home
	}
	if resumes && spec.CheckCwd != nil && filepath.Dir(p.cwd) != base {
		if err := spec.CheckCwd(p.cwd); err != nil {
			return p, fmt.Errorf("session %q: cwd %q: %w", spec.Session, p.cwd, err)
		}
	}
	p.made, err = s.make(base, p, spec)
	return p, err
}

// make makes the directories that are the session's own, and tells the whole's
// when it was not there before.
func (s *sessions) make(base string, p place, spec Spec) (made string, err error) {
	ownCwd, ownHome := filepath.Dir(p.cwd) == base, filepath.Dir(p.home) == base
	if !ownCwd && !ownHome {
		return "", nil
	}
	mode := os.FileMode(0o700)
	if spec.User != nil {
		mode = 0o711
	}
	switch err := os.Mkdir(base, mode); {
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
	return u.own(path)
}

// makeHome makes and seeds a HOME once. It appears whole or not at all: half a
// seed would never be completed.
func makeHome(path, seed string, u *User) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	next := path + ".new"
	if err := removeTree(next); err != nil {
		return fmt.Errorf("private home: %w", err)
	}
	err := os.Mkdir(next, 0o700)
	if err == nil && seed != "" {
		err = copySeed(next, seed)
	}
	if err == nil {
		err = giveTree(next, u)
	}
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("private home: seed %q: %w", seed, err), removeTree(next))
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

// giveTree gives children before their parents: nobody can put anything in the
// place of what is still to be given.
func giveTree(dir string, u *User) error {
	if u == nil {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return u.ownBelow(root, ".")
}

func (u *User) ownBelow(root *os.Root, dir string) error {
	entries, err := entriesOf(root, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if e.IsDir() {
			err = u.ownBelow(root, name)
		} else {
			err = root.Lchown(name, int(u.UID), int(u.GID))
		}
		if err != nil {
			return fmt.Errorf("give to user %s: %w", u.Name, err)
		}
	}
	return root.Lchown(dir, int(u.UID), int(u.GID))
}

// overlay is base with later lists laid over it, name by name.
func overlay(lists ...[]string) []string {
	at := map[string]int{}
	var out []string
	for _, list := range lists {
		for _, entry := range list {
			name, _, _ := strings.Cut(entry, "=")
			if i, ok := at[name]; ok {
				out[i] = entry
				continue
			}
			at[name] = len(out)
			out = append(out, entry)
		}
	}
	return out
}

func valueOf(env []string, name string) string {
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}
