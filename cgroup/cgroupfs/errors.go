package cgroupfs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrBusy is wrapped when a group still holds processes.
var ErrBusy = errors.New("group still has processes")

// Refusal is why a group can't be had, and what would change that.
type Refusal struct {
	Reason error
	Remedy string
}

func (e *Refusal) Error() string { return e.Reason.Error() + ": " + e.Remedy }
func (e *Refusal) Unwrap() error { return e.Reason }

// Refuse makes a Refusal as fmt.Errorf makes an error.
func Refuse(remedy, format string, args ...any) error {
	return &Refusal{fmt.Errorf(format, args...), remedy}
}

// WithRemedy gives an error of the kernel a remedy where it has none.
func WithRemedy(err error, remedy string) error {
	if _, ok := errors.AsType[*Refusal](err); ok || err == nil {
		return err
	}
	return &Refusal{err, remedy}
}

// ForeignProcsError refuses a group that others live in. Moving them is not ours to do.
func ForeignProcsError(path string, pids []int) error {
	return Refuse("start penstock alone in its group (as a unit with Delegate=yes, or as the container's first program), or move the others out first: "+
		"mkdir "+path+"/init; for p in $(cat "+path+"/cgroup.procs); do echo $p >"+path+"/init/cgroup.procs; done",
		"%s: %w: pids %v live there, and a group with controllers for its children can't hold processes itself", path, ErrBusy, pids)
}

// WrapPath is os.PathError without a typed nil.
func WrapPath(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: path, Err: err}
}

// UnwrapPath is the cause of an os.PathError, for a message that has the path already.
func UnwrapPath(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	return err
}

// IsAbsent tells a file this kernel (or this group) doesn't have from a failure:
// ENOENT without the controller, EOPNOTSUPP for pressure with PSI switched off
// and for cgroup.procs of a threaded group.
func IsAbsent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP)
}

// IsVanished says the whole group is gone: kernfs answers ENODEV on files that
// were open, ENOENT on new ones.
func IsVanished(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV)
}
