package cgroup

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// dir is a group's directory held open. Its files are reached with openat, so
// that a path which is removed and made again is never mistaken for it; the
// os.File keeps a concurrent close from handing us somebody else's descriptor.
type dir struct {
	path string
	f    *os.File
}

func openDir(path string) (*dir, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &dir{path: path, f: f}, nil
}

func (d *dir) close() error { return d.f.Close() }

// fd is -1 once the directory is closed.
func (d *dir) fd() int { return int(d.f.Fd()) }

func (d *dir) open(file string, flags int) (*os.File, error) {
	path := d.path + "/" + file
	rc, err := d.f.SyscallConn()
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	var fd int
	var openErr error
	err = rc.Control(func(at uintptr) {
		for {
			fd, openErr = unix.Openat(int(at), file, flags|unix.O_CLOEXEC, 0)
			if openErr != unix.EINTR {
				return
			}
		}
	})
	if err != nil {
		openErr = os.ErrClosed
	}
	if openErr != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: openErr}
	}
	return os.NewFile(uintptr(fd), path), nil
}

func (d *dir) read(file string) ([]byte, error) {
	f, err := d.open(file, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), unwrapPath(err))
	}
	return b, nil
}

// write hands the kernel the value in one write(2): cgroup files take no parts.
func (d *dir) write(file, value string) error {
	f, err := d.open(file, unix.O_WRONLY)
	if err != nil {
		return fmt.Errorf("write %s/%s: %q: %w", d.path, file, value, unwrapPath(err))
	}
	_, err = f.WriteString(value)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s/%s: %q: %w", d.path, file, value, unwrapPath(err))
	}
	return nil
}

func (d *dir) has(file string) bool {
	f, err := d.open(file, unix.O_PATH)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

func unwrapPath(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	return err
}

// absent tells a file this kernel (or this group) doesn't have from a failure:
// ENOENT without the controller, EOPNOTSUPP for pressure with PSI switched off
// and for cgroup.procs of a threaded group.
func absent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP)
}

// vanished says the whole group is gone: kernfs answers ENODEV on files that
// were open, ENOENT on new ones.
func vanished(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV)
}
