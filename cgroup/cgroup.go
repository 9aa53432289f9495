// Package cgroup is the kernel's side of a run: it finds where groups may be
// made, makes one cgroup v2 group per run with limits, kills it, waits until
// it is empty, reads what it used and removes it. No other package touches the
// cgroup file system. Reference: Linux Documentation/admin-guide/cgroup-v2.rst.
package cgroup

import (
	"errors"
	"log/slog"

	"penstock/cgroup/cgroupfs"
	"penstock/cgroup/root"
)

// Options choose the root.
type Options struct {
	Mode Mode
	// Name of the subtree we make where nobody delegated one; [a-z0-9-]+. It is
	// stable for one state directory, so that a restart finds leftovers.
	Name string
	// Budget is memory.max of the group that holds all runs, in bytes; 0 is none.
	Budget int64
	// Origin is what the daemon before this one in the same process has left, see
	// Tree.Detach; nil is nothing.
	Origin *root.Origin
	// Trial refuses a root in which runs of a daemon may live: Sweep would end them.
	Trial  bool
	Logger *slog.Logger
}

// ErrName is wrapped by NewGroup's refusal of an id that no group can have.
var ErrName = errors.New("reserved name")

// ErrKernel is wrapped by NewGroup's refusals that are the kernel's: a group that
// couldn't be made, or a limit that couldn't be set.
var ErrKernel = errors.New("the kernel refuses")

// ErrBusy is wrapped when a group still holds processes.
var ErrBusy = cgroupfs.ErrBusy
