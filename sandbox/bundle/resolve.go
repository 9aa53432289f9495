package bundle

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// linksMost is how many links a path may lead through, as in the kernel.
const linksMost = 40

// kind is what is at a path of the image.
type kind int

const (
	isAbsent kind = iota
	isDir
	isFile
	isLink
	isOther // devices, sockets, pipes
)

func kindOf(mode uint32) kind {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return isDir
	case unix.S_IFREG:
		return isFile
	case unix.S_IFLNK:
		return isLink
	}
	return isOther
}

// resolve follows the image's links in a path, each from the image's root, and cuts no part
// that isn't there.
func (p *planner) resolve(name string) (string, error) {
	if !path.IsAbs(name) {
		return "", fmt.Errorf("%q: not an absolute path", name)
	}
	todo := strings.Split(name, "/")
	real, links := "/", 0
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			real = path.Dir(real)
			continue
		}
		what, target, err := p.lookAt(real, part)
		if err != nil {
			return "", err
		}
		if what != isLink {
			real = path.Join(real, part)
			continue
		}
		if links++; links > linksMost {
			return "", &os.PathError{Op: "resolve", Path: name, Err: unix.ELOOP}
		}
		if path.IsAbs(target) {
			real = "/"
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return real, nil
}

// lookAt tells what a directory of the image, which is reached without links, has by a name.
func (p *planner) lookAt(dir, name string) (what kind, target string, err error) {
	at, err := p.open(dir)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return isAbsent, "", nil
	}
	if err != nil {
		return isAbsent, "", err
	}
	var stat unix.Stat_t
	err = unix.Fstatat(int(at.Fd()), name, &stat, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return isAbsent, "", nil
	}
	if err != nil {
		return isAbsent, "", &os.PathError{Op: "stat", Path: path.Join(dir, name), Err: err}
	}
	if what = kindOf(stat.Mode); what == isLink {
		target, err = readLink(int(at.Fd()), name)
	}
	return what, target, err
}

func readLink(dir int, name string) (string, error) {
	text := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, text)
	if err != nil {
		return "", &os.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(text[:n]), nil
}

// open holds a directory of the image, to which no link leads: so it is in the image. It is
// opened once, and open until the plan is made.
func (p *planner) open(dir string) (*os.File, error) {
	if f := p.dirs[dir]; f != nil {
		return f, nil
	}
	above, err := p.open(path.Dir(dir))
	if err != nil {
		return nil, err
	}
	fd, err := unix.Openat(int(above.Fd()), path.Base(dir), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	f := os.NewFile(uintptr(fd), dir)
	p.dirs[dir] = f
	return f, nil
}

func openDir(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return os.NewFile(uintptr(fd), dir), nil
}
