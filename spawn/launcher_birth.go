package spawn

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"penstock/cgroup"
)

// atCwd is AT_FDCWD as a raw call wants it.
const atCwd = ^uintptr(-unix.AT_FDCWD - 1)

// sandbox is what each child puts on between fork and execve, from which there
// is no way back: os.StartProcess has no place for it.
type sandbox struct {
	domain int             // Landlock rule set, one domain per child of it; -1 is none
	filter *unix.SockFprog // nil is none
	noFile *syscall.Rlimit // the daemon's own, before the Go runtime raised it
	// apart are namespaces of each child's own, as flags of clone.
	namespaces uint64
}

// errSandbox is a child that could not put on its sandbox, and so was not started.
var errSandbox = errors.New("put on the sandbox")

// noSandbox is the sandbox that holds nothing.
func noSandbox() sandbox { return sandbox{domain: -1} }

// open gives the rule set back.
func (s *sandbox) open() error {
	if s.domain < 0 {
		return nil
	}
	err := unix.Close(s.domain)
	s.domain = -1
	return err
}

// forkExec starts a program as os.StartProcess does, in the sandbox; of attr.Sys it knows
// Credential, UseCgroupFD and CgroupFD, and every child gets a session of its
// own; it starts in held, where that is not nil, or not at all. To be called on
// the launcher thread.
func (s *sandbox) forkExec(path string, argv []string, attr *os.ProcAttr, held *dirIdentity) (*os.Process, error) {
	b, err := s.newChildSpec(path, argv, attr)
	if err != nil {
		return nil, err
	}
	b.startDir = held
	pid, f, err := b.forkAndWait(attr.Files)
	runtime.KeepAlive(argv)
	if err != nil {
		return nil, &os.PathError{Op: "fork/exec", Path: path, Err: err}
	}
	if f.stage != stageNone {
		return nil, &os.PathError{Op: "fork/exec", Path: path, Err: f.err(b.startDir != nil)}
	}
	return os.FindProcess(pid)
}

// err is why the child does not execute; held tells that it had to start in a
// directory that was checked.
func (f childStatus) err(held bool) error {
	switch {
	case f.stage == stageSandbox:
		return fmt.Errorf("%w: %w", errSandbox, f.errno)
	case held && (f.stage == stageStartDir && f.errno == syscall.ESTALE ||
		f.stage == stageDirectory && (f.errno == syscall.ENOENT || f.errno == syscall.ENOTDIR || f.errno == syscall.ELOOP)):
		return fmt.Errorf("%w: %w", ErrMoved, f.errno)
	}
	return f.errno
}

// dirIdentity is what a child needs to know its working directory again.
type dirIdentity struct {
	dot       [2]byte // "."
	want, got unix.Statx_t
}

// identify tells which directory f holds open; nil for none.
func identify(f *os.File) (*dirIdentity, error) {
	if f == nil {
		return nil, nil
	}
	h := &dirIdentity{dot: [2]byte{'.'}}
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO, &h.want); err != nil {
		return nil, os.NewSyscallError("statx", err)
	}
	return h, nil
}

// newChildSpec lays out what the child needs.
func (s *sandbox) newChildSpec(path string, argv []string, attr *os.ProcAttr) (*childSpec, error) {
	b := &childSpec{domain: s.domain, filter: s.filter, noFile: s.noFile}
	b.clone = cloneArgs{flags: sharing | s.namespaces, exitSignal: uint64(unix.SIGCHLD)}
	var err error
	if b.path, err = syscall.BytePtrFromString(path); err != nil {
		return nil, err
	}
	if attr.Dir != "" {
		if b.dir, err = syscall.BytePtrFromString(attr.Dir); err != nil {
			return nil, err
		}
	}
	if b.argv, err = pointers(argv); err != nil {
		return nil, err
	}
	if b.envv, err = pointers(attr.Env); err != nil {
		return nil, err
	}
	if attr.Sys == nil {
		return b, nil
	}
	if attr.Sys.UseCgroupFD {
		b.clone.flags |= unix.CLONE_INTO_CGROUP
		b.clone.cgroup = uint64(attr.Sys.CgroupFD)
		if b.leaderAttr, err = syscall.BytePtrFromString(cgroup.LeaderAttr); err != nil {
			return nil, err
		}
	}
	if b.credential = attr.Sys.Credential; b.credential != nil && len(b.credential.Groups) > 0 {
		b.groups = &b.credential.Groups[0]
	}
	return b, nil
}

// forkAndWait forks and hears what the child has to say: stageNone when it executes.
func (b *childSpec) forkAndWait(files []*os.File) (pid int, f childStatus, err error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return 0, f, err
	}
	read := os.NewFile(uintptr(pipe[0]), "birth")
	defer read.Close()
	kept, err := b.dupAbove(pipe[1], files)
	defer func() {
		for _, fd := range kept {
			_ = unix.Close(fd) // a copy that was not written to
		}
	}()
	if err != nil {
		return 0, f, errors.Join(err, unix.Close(pipe[1]))
	}
	child, errno := b.fork()
	runtimeAfterFork()
	runtime.KeepAlive(files)
	runtime.KeepAlive(b)
	if err := unix.Close(pipe[1]); err != nil {
		return 0, f, err
	}
	for _, fd := range kept {
		_ = unix.Close(fd)
	}
	kept = nil
	if errno != 0 {
		return 0, f, syscall.Errno(errno)
	}
	said := (*[unsafe.Sizeof(f)]byte)(unsafe.Pointer(&f))[:]
	n, err := io.ReadFull(read, said)
	if n == 0 && errors.Is(err, io.EOF) {
		return int(child), childStatus{}, nil
	}
	var status unix.WaitStatus
	for {
		if _, waitErr := unix.Wait4(int(child), &status, 0, nil); waitErr != unix.EINTR {
			return 0, f, errors.Join(err, waitErr)
		}
	}
}

// dupAbove gives the child copies of its files and of the pipe above its stdio,
// so that putting them in place overwrites none.
func (b *childSpec) dupAbove(report int, files []*os.File) (kept []int, err error) {
	above := func(fd uintptr) (uintptr, error) {
		if fd >= uintptr(len(b.files)) {
			return fd, nil
		}
		copied, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, len(b.files))
		if err == nil {
			kept = append(kept, copied)
		}
		return uintptr(copied), err
	}
	for i := range b.files {
		if b.files[i], err = above(files[i].Fd()); err != nil {
			return kept, err
		}
	}
	b.report, err = above(uintptr(report))
	return kept, err
}

// pointers is a list of C strings as execve takes it.
func pointers(list []string) (**byte, error) {
	all, err := syscall.SlicePtrFromStrings(list)
	if err != nil {
		return nil, err
	}
	return &all[0], nil
}
