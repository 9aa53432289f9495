package cgroupfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Dir is a group's directory held open. Its files are reached with openat, so
// that a path which is removed and made again is never mistaken for it; the
// os.File keeps a concurrent close from handing us another file's descriptor.
// The files below are bare descriptors: they never block, so the runtime's
// poller has nothing to do for them, and a run opens a dozen.
type Dir struct {
	Path   string
	f      *os.File
	killFD *os.File // cgroup.kill, see OpenKill; may be nil

	mu  sync.Mutex
	cpu *os.File // cpu.stat, see CPUTime; nil before its first call
}

func OpenDir(path string) (*Dir, error) {
	fd, err := retryEINTR(func() (int, error) { return unix.Open(path, unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, WrapPath("open", path, err)
	}
	return &Dir{Path: path, f: os.NewFile(uintptr(fd), path)}, nil
}

func (d *Dir) Close() error {
	if d.killFD != nil {
		d.killFD.Close()
	}
	err := d.f.Close() // first: nothing is opened from now on
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cpu != nil {
		d.cpu.Close()
	}
	return err
}

// FD is -1 once the directory is closed.
func (d *Dir) FD() int { return int(d.f.Fd()) }

// openat gives a bare descriptor of a name in the group.
func (d *Dir) openat(name string, flags int) (int, error) {
	path := d.Path + "/" + name
	rc, err := d.f.SyscallConn()
	if err != nil {
		return -1, WrapPath("open", path, err)
	}
	var fd int
	var openErr error
	err = rc.Control(func(at uintptr) {
		openErr = WithPerms(func() (err error) {
			fd, err = retryEINTR(func() (int, error) { return unix.Openat(int(at), name, flags|unix.O_CLOEXEC, 0) })
			return err
		}, func() error { return restorePermsBelow(int(at), name) })
	})
	if err != nil {
		openErr = os.ErrClosed
	}
	return fd, WrapPath("open", path, openErr)
}

// open is openDir for a group below (or "." or "..") by its name alone; for
// messages it keeps the path of where a walk began.
func (d *Dir) Open(name string) (*Dir, error) {
	fd, err := d.openat(name, unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	return &Dir{Path: d.Path, f: os.NewFile(uintptr(fd), d.Path)}, nil
}

// with opens a file for the time of one call.
func (d *Dir) with(file string, flags int, use func(fd int) error) error {
	fd, err := d.openat(file, flags)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return use(fd)
}

func (d *Dir) Read(file string) (b []byte, err error) {
	err = d.with(file, unix.O_RDONLY, func(fd int) error {
		b, err = readAll(fd)
		return WrapPath("read", d.Path+"/"+file, err)
	})
	return b, err
}

// shortRead tells a file's end without another read(2): the kernel gives what fits into
// a page of its own (seq_file), so that less than half of one, and less than was asked for,
// is all there is.
const shortRead = 2048

// readAll reads from the file's beginning, wherever its offset is.
func readAll(fd int) ([]byte, error) {
	b := make([]byte, 0, 512)
	for {
		room := cap(b) - len(b)
		n, err := retryEINTR(func() (int, error) { return unix.Pread(fd, b[len(b):cap(b)], int64(len(b))) })
		if n <= 0 || err != nil {
			return b, err
		}
		if b = b[:len(b)+n]; n < min(room, shortRead) {
			return b, nil
		}
		if len(b) == cap(b) {
			b = slices.Grow(b, len(b))
		}
	}
}

// Write hands the kernel the value in one write(2): cgroup files take no parts.
func (d *Dir) Write(file, value string) error {
	err := d.with(file, unix.O_WRONLY, func(fd int) error { return writeOnce(fd, value) })
	if err != nil {
		return fmt.Errorf("write %s/%s: %q: %w", d.Path, file, value, UnwrapPath(err))
	}
	return nil
}

func writeOnce(fd int, value string) error {
	_, err := retryEINTR(func() (int, error) { return unix.Write(fd, []byte(value)) })
	return err
}

// retryEINTR repeats a call that a signal interrupted: the runtime preempts by signal.
func retryEINTR(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func (d *Dir) Has(file string) bool {
	return d.with(file, unix.O_PATH, func(int) error { return nil }) == nil
}

// A daemon that isn't root owns its groups' files, and so do its runs: they may
// take away the permissions that killing and removing needs. No Landlock rule
// covers chmod(2), but the owner of a file can give them back: after a refusal
// they are restored once, and the call is made again.

// DirMode is what the daemon needs on its groups and their files.
const DirMode = 0o755

// WithPerms calls f, and after a refusal restore and f again.
func WithPerms(f, restore func() error) error {
	err := f()
	if !errors.Is(err, unix.EACCES) || restore() != nil {
		return err
	}
	return f()
}

// restorePermsBelow gives back a directory that is held open and one name in it, which
// may not be there: the call that is made again tells.
func restorePermsBelow(at int, name string) error {
	if err := unix.Fchmod(at, DirMode); err != nil {
		return err
	}
	if err := unix.Fchmodat(at, name, DirMode, 0); !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

// RestorePerms gives back a group and the two above it, of which none is above the root.
func RestorePerms(path string) error {
	above := filepath.Dir(path)
	return errors.Join(unix.Chmod(filepath.Dir(above), DirMode), unix.Chmod(above, DirMode), unix.Chmod(path, DirMode))
}
