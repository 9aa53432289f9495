package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// place is where a run works: both are absolute; an empty home leaves HOME as
// the environment has it.
type place struct {
	cwd, home string
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
	return p, s.make(base, p, spec)
}

// make makes the directories that are the session's own.
func (s *sessions) make(base string, p place, spec Spec) error {
	ownCwd, ownHome := filepath.Dir(p.cwd) == base, filepath.Dir(p.home) == base
	if !ownCwd && !ownHome {
		return nil
	}
	mode := os.FileMode(0o700)
	if spec.User != nil {
		mode = 0o711
	}
	if err := os.MkdirAll(base, mode); err != nil {
		return fmt.Errorf("session %q: %w", spec.Session, err)
	}
	if ownCwd {
		if err := freshDir(p.cwd, spec.User); err != nil {
			return fmt.Errorf("session %q: %w", spec.Session, err)
		}
	}
	if ownHome {
		return makeHome(p.home, spec.HomeSeed, spec.User)
	}
	return nil
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
	if err := os.RemoveAll(next); err != nil {
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
		return errors.Join(fmt.Errorf("private home: seed %q: %w", seed, err), os.RemoveAll(next))
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

func giveTree(dir string, u *User) error {
	if u == nil {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return u.own(path)
	})
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
