// Package cgroup is the kernel's side of a run: it makes one cgroup v2 group per run
// with limits, kills it, waits until it is empty, reads what it used and removes it.
//
//	Open ─ root.Open: where groups may be made    tree.go, root/
//	  ▼
//	Tree ─ all groups of runs below one root      tree.go
//	  ├─ NewGroup, Adopt                          newgroup.go
//	  │    limits in OCI form -> kernel's files   limits.go
//	  ├─ Group: kill, emptiness, its leader       group.go
//	  │    Usage while it lives                   usage.go
//	  │    Receipt of what it used                receipt.go
//	  │    Remove, and the janitor after it       remove.go
//	  ├─ SetBudget, Follow: of all runs together  budget.go
//	  ├─ the enforcer, where the kernel can't     enforcer.go, sample.go, files.go
//	  │    whether a group can have grown         growth.go
//	  ├─ Sweep: what an earlier daemon left       sweep.go
//	  └─ Close, Abandon, Detach                   close.go
//
// The kernel's files themselves are cgroupfs's: "memory.max" is written by Dir.Set.
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
	// Name of the subtree we make where none was delegated; [a-z0-9-]+. It is
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

// What holds limits is decided with the root, and shown of each group.
type (
	Mode     = root.Mode
	Enforcer = root.Enforcer
	Enforced = root.Enforced
)

const (
	Strict    = root.Strict
	Available = root.Available
	Kernel    = root.Kernel
	Watch     = root.Watch
)

// Refusals of Open.
var (
	ErrUnsupported = root.ErrUnsupported
	ErrLive        = root.ErrLive
)
