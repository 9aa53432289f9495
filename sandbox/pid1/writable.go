package pid1

import (
	"errors"
	"fmt"
	"os"
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
	defer unix.Umask(unix.Umask(0))
	for _, m := range w.Moves {
		var err error
		if m.Below != "" {
			err = w.move(in(m.From), m, o)
		} else {
			err = bind(in(m.From), m.To, unix.MS_REC)
		}
		if err == nil && m.ReadOnly {
			err = setReadonly(m.To)
		}
		if err != nil {
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
// makes the mount point, with the directories that lead to it: they are the CLI's, as if it
// had made them.
func (w *Writable) move(from string, m Move, o owner) error {
	rest, ok := strings.CutPrefix(m.To, m.Below+"/")
	if !ok {
		return fmt.Errorf("mount %s: not below %q", m.To, m.Below)
	}
	at, err := unix.Open(m.Below, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: m.Below, Err: err}
	}
	defer func() { _ = unix.Close(at) }()
	names := strings.Split(rest, "/")
	for i, name := range names {
		next, err := o.enter(at, name, m.File && i == len(names)-1)
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.To, &os.PathError{Op: "make", Path: name, Err: err})
		}
		_ = unix.Close(at)
		at = next
	}
	if err := unix.Mount(from, "/proc/self/fd/"+strconv.Itoa(at), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return &os.PathError{Op: "bind", Path: m.To, Err: err}
	}
	return nil
}

// enter opens one entry of a directory, which it makes if it isn't there. A link in its place
// is an error.
func (o owner) enter(dir int, name string, file bool) (fd int, err error) {
	how := unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if !file {
		how |= unix.O_DIRECTORY
	}
	if fd, err = unix.Openat(dir, name, how, 0); errors.Is(err, unix.ENOENT) {
		if err = o.make(dir, name, file); err == nil {
			fd, err = unix.Openat(dir, name, how, 0)
		}
	}
	if err != nil || !file {
		return fd, err
	}
	var is unix.Stat_t
	if err = unix.Fstat(fd, &is); err == nil && is.Mode&unix.S_IFMT != unix.S_IFREG {
		err = unix.ELOOP
	}
	if err != nil {
		_ = unix.Close(fd)
	}
	return fd, err
}

// make makes an empty file or directory.
func (o owner) make(dir int, name string, file bool) error {
	var err error
	if file {
		var fd int
		if fd, err = unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600); err == nil {
			err = unix.Close(fd)
		}
	} else {
		err = unix.Mkdirat(dir, name, 0o755)
	}
	if err == nil && o.uid >= 0 {
		err = unix.Fchownat(dir, name, o.uid, o.gid, unix.AT_SYMLINK_NOFOLLOW)
	}
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}
