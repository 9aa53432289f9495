package pid1

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// owner is whose the CLI's directories are; -1 is this process's.
type owner struct{ uid, gid int }

func (j *Job) owner() owner {
	if !j.TakeUser {
		return owner{-1, -1}
	}
	return owner{int(j.Process.User.UID), int(j.Process.User.GID)}
}

// mount gives each place a directory of the pool, the pool's own place last: that covers
// the rest of it.
func (w *Writable) mount(o owner) error {
	pool, err := unix.Open(w.Pool, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: w.Pool, Err: err}
	}
	defer unix.Close(pool)
	// By the descriptor: by the path it is covered in between.
	in := func(name string) string { return "/proc/self/fd/" + strconv.Itoa(pool) + "/" + name }
	own := ""
	for i, p := range w.Places {
		name := "place" + strconv.Itoa(i)
		if err := o.makeDir(in(name), p.Mode); err != nil {
			return err
		}
		if p.Path == w.Pool {
			own = in(name)
			continue
		}
		if err := bind(in(name), p.Path, 0); err != nil {
			return err
		}
	}
	if own != "" {
		if err := bind(own, w.Pool, 0); err != nil {
			return err
		}
	}
	for _, m := range w.Moves {
		if err := w.move(in(m.From), m, o); err != nil {
			return err
		}
	}
	return nil
}

func bind(from, to string, how uintptr) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND|how, ""); err != nil {
		return &os.PathError{Op: "bind", Path: to, Err: err}
	}
	return nil
}

// makeDir makes one directory with exactly that mode.
func (o owner) makeDir(path string, mode os.FileMode) error {
	err := os.Mkdir(path, 0o700)
	if err == nil {
		err = os.Chmod(path, mode)
	}
	if err == nil && o.uid >= 0 {
		err = os.Lchown(path, o.uid, o.gid)
	}
	return err
}

// move binds the mount again, for one that a user namespace has inherited can't be moved. It
// makes the mount point, with the directories that lead to it from its place: they are
// the CLI's, as if it had made them.
func (w *Writable) move(from string, m Move, o owner) error {
	place := w.placeOf(m.To)
	if place == "" {
		return fmt.Errorf("move %s: not below a writable directory", m.To)
	}
	at := place
	names := strings.Split(strings.TrimPrefix(m.To, place+"/"), "/")
	for i, name := range names {
		at = filepath.Join(at, name)
		var err error
		if m.File && i == len(names)-1 {
			err = os.WriteFile(at, nil, 0o600)
		} else {
			err = o.makeDir(at, 0o755)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return bind(from, m.To, unix.MS_REC)
}

// placeOf is the innermost place that a path lies below.
func (w *Writable) placeOf(path string) (place string) {
	for _, p := range w.Places {
		if strings.HasPrefix(path, p.Path+"/") && len(p.Path) > len(place) {
			place = p.Path
		}
	}
	return place
}
