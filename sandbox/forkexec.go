package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// atCwd is AT_FDCWD as a raw call wants it.
const atCwd = ^uintptr(-unix.AT_FDCWD - 1)

// restrictions are what each child puts on between fork and execve, from which there
// is no way back: os.StartProcess has no place for them.
type restrictions struct {
	domain int             // Landlock rule set, one domain per child of it; -1 is none
	filter *unix.SockFprog // nil is none
	noFile *syscall.Rlimit // the daemon's own, before the Go runtime raised it
	// namespaces are of each child's own, as flags of clone; ready are those of them that
	// the thread has made for the next child, and that no other is born in.
	namespaces, ready uint64
}

// ErrSandbox is a child that could not put on its sandbox, and so was not started.
var ErrSandbox = errors.New("put on the sandbox")

// noRestrictions hold nothing.
func noRestrictions() restrictions { return restrictions{domain: -1} }

// close gives the rule set back.
func (s *restrictions) close() error {
	if s.domain < 0 {
		return nil
	}
	err := unix.Close(s.domain)
	s.domain = -1
	return err
}

// Child is a program to be started.
type Child struct {
	Argv []string // Argv[0] is the program's path
	Env  []string // complete
	Dir  string   // "" is the daemon's own
	// Checked is the directory that Dir must be, or the child does not start
	// (ErrMoved); nil takes what Dir is by then.
	Checked *Directory
	Files   [3]*os.File
	Extra   []*os.File          // its descriptors from 3 on
	User    *syscall.Credential // nil is the daemon's own
	GroupFD int                 // the cgroup's directory; 0 is the daemon's own group
	// LeaderAttr is the extended attribute of the group in which the child notes its
	// number; "" is none.
	LeaderAttr string
}

// ErrMoved is a child whose Dir was another directory by then than Checked.
var ErrMoved = errors.New("its working directory has been moved or replaced since it was checked")

// ForkExec starts a child as os.StartProcess does, in its group and in the sandbox,
// in a session of its own. To be called on the launcher thread (Do).
func (l *Launcher) ForkExec(c Child) (*os.Process, error) {
	pid, err := l.restrictions.forkExec(c)
	if err != nil {
		return nil, err
	}
	return os.FindProcess(pid)
}

// Ready makes what the next child needs, so that its start need not wait for it. To be
// called on the launcher thread, when what has asked for the last one has its answer.
func (l *Launcher) Ready() { l.restrictions.makeReady() }

func (s *restrictions) makeReady() {
	if want := s.namespaces &^ s.ready; want != 0 && unix.Unshare(int(want)) == nil {
		s.ready |= want
	}
}

func (s *restrictions) forkExec(c Child) (pid int, err error) {
	path := c.Argv[0]
	b, err := s.newChildSpec(c)
	if err != nil {
		return 0, err
	}
	s.ready = 0
	pid, f, err := b.forkAndWait(c)
	runtime.KeepAlive(c)
	if err != nil {
		return 0, &os.PathError{Op: "fork/exec", Path: path, Err: err}
	}
	if f.stage != stageNone {
		return 0, &os.PathError{Op: "fork/exec", Path: path, Err: &stepError{f.stage, f.err(b.startDir != nil)}}
	}
	return pid, nil
}

// err is why the child does not execute; held tells that it had to start in a
// directory that was checked.
func (f childStatus) err(held bool) error {
	switch {
	case f.stage == stageSandbox:
		return fmt.Errorf("%w: %w", ErrSandbox, f.errno)
	case held && (f.stage == stageStartDir && f.errno == syscall.ESTALE ||
		f.stage == stageDirectory && (f.errno == syscall.ENOENT || f.errno == syscall.ENOTDIR || f.errno == syscall.ELOOP)):
		return fmt.Errorf("%w: %w", ErrMoved, f.errno)
	}
	return f.errno
}

// Directory is what a child needs to know its working directory again.
type Directory struct {
	dot       [2]byte // "."
	want, got unix.Statx_t
}

// IdentifyDirectory tells which directory f holds open; nil for none.
func IdentifyDirectory(f *os.File) (*Directory, error) {
	if f == nil {
		return nil, nil
	}
	h := &Directory{dot: [2]byte{'.'}}
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO, &h.want); err != nil {
		return nil, os.NewSyscallError("statx", err)
	}
	return h, nil
}

// newChildSpec lays out what the child needs.
func (s *restrictions) newChildSpec(c Child) (*childSpec, error) {
	b := &childSpec{startDir: c.Checked, credential: c.User, domain: s.domain, filter: s.filter, noFile: s.noFile}
	b.clone = cloneArgs{flags: sharing | unix.CLONE_VFORK | unix.CLONE_CLEAR_SIGHAND | s.namespaces&^s.ready, exitSignal: uint64(unix.SIGCHLD)}
	var err error
	if b.path, err = syscall.BytePtrFromString(c.Argv[0]); err != nil {
		return nil, err
	}
	if c.Dir != "" {
		if b.dir, err = syscall.BytePtrFromString(c.Dir); err != nil {
			return nil, err
		}
	}
	if b.argv, err = pointers(c.Argv); err != nil {
		return nil, err
	}
	if b.envv, err = pointers(c.Env); err != nil {
		return nil, err
	}
	if c.GroupFD > 0 {
		b.clone.flags |= unix.CLONE_INTO_CGROUP
		b.clone.cgroup = uint64(c.GroupFD)
		if c.LeaderAttr != "" {
			if b.leaderAttr, err = syscall.BytePtrFromString(c.LeaderAttr); err != nil {
				return nil, err
			}
		}
	}
	if b.credential != nil && len(b.credential.Groups) > 0 {
		b.groups = &b.credential.Groups[0]
	}
	return b, nil
}

// forkAndWait forks and hears what the child has to say: stageNone when it executes.
func (b *childSpec) forkAndWait(c Child) (pid int, f childStatus, err error) {
	kept, err := b.dupAbove(c)
	defer func() {
		for _, fd := range kept {
			_ = unix.Close(fd) // a copy that was not written to
		}
	}()
	if err != nil {
		return 0, f, err
	}
	var free func()
	if b.status, free, err = newChildStatus(); err != nil {
		return 0, f, err
	}
	defer free()
	child, errno := b.fork()
	runtimeAfterFork()
	runtime.KeepAlive(c)
	runtime.KeepAlive(b)
	if errno != 0 {
		return 0, f, syscall.Errno(errno)
	}
	if !b.status.failed {
		return int(child), f, nil
	}
	var status unix.WaitStatus
	for {
		if _, err := unix.Wait4(int(child), &status, 0, nil); err != unix.EINTR {
			return 0, *b.status, err
		}
	}
}

// dupAbove gives the child copies of its files, and of its rule set, above the descriptors
// it will have, so that putting them in place overwrites none.
func (b *childSpec) dupAbove(c Child) (kept []int, err error) {
	b.files = b.stdio[:]
	if len(c.Extra) > 0 {
		b.files = make([]uintptr, len(c.Files)+len(c.Extra))
	}
	above := func(fd int) (int, error) {
		if fd < 0 || fd >= len(b.files) {
			return fd, nil
		}
		copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, len(b.files))
		if err == nil {
			kept = append(kept, copied)
		}
		return copied, err
	}
	for i := range b.files {
		f := c.Files[min(i, len(c.Files)-1)]
		if i >= len(c.Files) {
			f = c.Extra[i-len(c.Files)]
		}
		fd, err := above(int(f.Fd()))
		if err != nil {
			return kept, err
		}
		b.files[i] = uintptr(fd)
	}
	b.domain, err = above(b.domain)
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

// probe lets a child put on the sandbox and try, instead of executing, to open
// procs for writing, to call clone3 and, where store names a file, to make that:
// open says that it could. Opening writes nothing.
func (s *restrictions) probe(procs, store string) (open, err error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	b, err := s.newChildSpec(Child{Argv: []string{"/"}})
	if err != nil {
		return nil, err
	}
	if b.probe, err = syscall.BytePtrFromString(procs); err != nil {
		return nil, err
	}
	if store != "" {
		if b.probeStore, err = syscall.BytePtrFromString(store); err != nil {
			return nil, err
		}
	}
	_, f, err := b.forkAndWait(Child{Files: [3]*os.File{null, null, null}})
	switch {
	case err != nil:
		return nil, fmt.Errorf("probe the sandbox: %w", err)
	case f.stage != stageProbe:
		return nil, fmt.Errorf("probe the sandbox: %w", f.err(false))
	case f.errno == 0:
		return nil, fmt.Errorf("open %s: still writable for a child", procs)
	case f.errno != unix.EROFS && f.errno != unix.EACCES:
		return nil, &os.PathError{Op: "probe: open", Path: procs, Err: f.errno}
	case f.second != unix.ENOSYS:
		return nil, fmt.Errorf("clone3: a child could be born into another group (answer %d instead of ENOSYS: is seccomp in this kernel?)", int(f.second))
	}
	if store != "" && f.third == 0 {
		open = errors.Join(fmt.Errorf("%s: a child could make it", store), os.Remove(store))
	}
	return open, nil
}
