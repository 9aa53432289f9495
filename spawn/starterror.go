package spawn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"penstock/cgroup"
	"penstock/outcome"
	"penstock/sandbox"
)

// ErrName is wrapped by the StartError of a run whose ID no group can have.
var ErrName = cgroup.ErrName

// StartError is why nothing was started; Cause is start_failed, cli_missing,
// memory_limit, pids_limit, cli_error or shutting_down, and cancelled or timeout
// when the context ended first.
type StartError struct {
	Cause outcome.Cause
	Err   error
	// Receipt is the group's, nil where there was none to read.
	Receipt *cgroup.Receipt
	// Gone is closed when the group is removed, nil when it is already (or was
	// never made): until then a start may still be under way in it and its
	// limits are not free. It may stay open when the spawner is closed first.
	Gone <-chan struct{}
}

// until adds the group's removal, where that is still to come.
func (e *StartError) until(g *cgroup.Group) *StartError {
	select {
	case <-g.Gone():
	default:
		e.Gone = g.Gone()
	}
	return e
}

func (e *StartError) Error() string { return e.Err.Error() }
func (e *StartError) Unwrap() error { return e.Err }

// notStarted maps a context's end, or the spawner's, to the refusal.
func notStarted(id string, err error) *StartError {
	cause := outcome.Cancelled
	switch {
	case errors.Is(err, sandbox.ErrClosed):
		cause = outcome.ShuttingDown
	case errors.Is(err, context.DeadlineExceeded):
		cause = outcome.Timeout
	}
	return &StartError{Cause: cause, Err: fmt.Errorf("start %s: not started: %w", id, err)}
}

// execFailed explains a refused clone or execve. The kernel's errno alone names
// neither which file is meant nor whose limit was hit, so the file system and
// the group's receipt are asked.
func execFailed(c Command, r cgroup.Receipt, err error) *StartError {
	program := c.Argv[0]
	fail := func(cause outcome.Cause, path, why string) *StartError {
		return &StartError{Cause: cause, Err: fmt.Errorf("start %s: %s: %s: %w", c.ID, path, why, errnoOf(err))}
	}
	errno, _ := errors.AsType[syscall.Errno](err)
	v, refused := outcome.RefusedStart(errno, r, c.Limits)
	switch {
	case errors.Is(err, sandbox.ErrMoved):
		return &StartError{Cause: outcome.StartFailed, Err: fmt.Errorf("start %s: %s: %w", c.ID, c.Dir, sandbox.ErrMoved)}
	case errors.Is(err, sandbox.ErrSandbox):
		return fail(outcome.StartFailed, program, "its sandbox (seccomp, Landlock) could not be put on: is penstock itself in many Landlock domains?")
	case refused:
		return fail(v.Cause, program, v.Message)
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EACCES),
		errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ELOOP):
		path, why := missing(c, err)
		return fail(outcome.CLIMissing, path, why)
	case errors.Is(err, syscall.ENOEXEC):
		return fail(outcome.CLIMissing, program, "not executable here: neither a program for this machine nor a script with a #! line")
	case errors.Is(err, syscall.EAGAIN):
		return fail(outcome.StartFailed, program, "no room for a new task: all runs together have as many as they may; raise TasksMax= of the unit or the user's nproc limit (penstock check says which), or try again when fewer run")
	case errors.Is(err, syscall.E2BIG):
		return fail(outcome.CLIError, program, "arguments and environment are too long")
	case errors.Is(err, syscall.ENOMEM):
		return fail(outcome.StartFailed, program, "the host is out of memory")
	case errors.Is(err, syscall.ENOSYS):
		return fail(outcome.StartFailed, program, "clone3 is blocked by seccomp: take RestrictNamespaces= out of the unit, or allow clone3 in the container's profile")
	case errors.Is(err, syscall.EPERM) && c.User != nil:
		return fail(outcome.StartFailed, program, fmt.Sprintf("can't become uid %d gid %d: the daemon must be root, with CAP_SETUID and CAP_SETGID, to run a backend as another user", c.User.Uid, c.User.Gid))
	}
	return fail(outcome.StartFailed, program, "could not be started")
}

// errnoOf takes the bare errno out of os's PathError, whose path we tell better.
func errnoOf(err error) error {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return err
}

// missing tells which of the files execve needs is at fault, and how.
func missing(c Command, err error) (path, why string) {
	if c.Dir != "" {
		dir, statErr := os.Stat(c.Dir)
		switch {
		case errors.Is(statErr, fs.ErrNotExist):
			return c.Dir, "working directory does not exist"
		case statErr != nil:
			return c.Dir, "working directory can't be entered"
		case !dir.IsDir():
			return c.Dir, "working directory is not a directory"
		}
	}
	program := c.Argv[0]
	info, statErr := os.Stat(program)
	switch {
	case errors.Is(statErr, fs.ErrNotExist), errors.Is(statErr, syscall.ENOTDIR):
		return program, "program not found"
	case statErr != nil:
		return program, "program can't be reached"
	case info.IsDir():
		return program, "is a directory, not a program"
	case info.Mode()&0o111 == 0:
		return program, "not executable (chmod +x?)"
	case errors.Is(err, syscall.ENOENT):
		return program, "its interpreter (the #! line, or the ELF loader) was not found"
	case c.User != nil:
		return program, fmt.Sprintf("may not be executed by uid %d, or %s not entered by it (a directory above one of them is closed to it: see penstock check)", c.User.Uid, orRoot(c.Dir))
	}
	return program, "may not be executed (file mode, a directory above it, or a noexec mount)"
}

func orRoot(dir string) string {
	if dir == "" {
		return "its working directory"
	}
	return dir
}
