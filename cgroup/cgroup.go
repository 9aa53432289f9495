// Package cgroup is the kernel's side of a run: it finds where groups may be
// made, makes one cgroup v2 group per run with limits, kills it, waits until
// it is empty, reads what it used and removes it. No other package touches the
// cgroup file system. Reference: Linux Documentation/admin-guide/cgroup-v2.rst.
package cgroup

import (
	"errors"
	"log/slog"

	"penstock/cgroup/cgroupfs"
)

// Mode says how much of the cage the kernel itself must hold.
type Mode string

const (
	// Strict needs the memory and pids controllers of cgroup v2.
	Strict Mode = "strict"
	// Available also accepts a v2 tree without them: group, kill and emptiness
	// are then the kernel's, memory and pids are held by our own watch.
	Available Mode = "available"
)

// Enforcer names who holds a limit.
type Enforcer string

const (
	Kernel Enforcer = "kernel"
	Watch  Enforcer = "watch"
)

// Enforced tells who holds each limit of the groups below one root.
type Enforced struct {
	Memory Enforcer `json:"memory"`
	Pids   Enforcer `json:"pids"`
	Kill   Enforcer `json:"kill"`
	// CPU is empty where the cpu controller is missing: then cpu_max and
	// cpu_weight can't be honoured and a run that asks for them is refused.
	CPU Enforcer `json:"cpu,omitempty"`
}

// Options choose the root.
type Options struct {
	Mode Mode
	// Name of the subtree we make where nobody delegated one; [a-z0-9-]+. It is
	// stable for one state directory, so that a restart finds leftovers.
	Name string
	// Budget is memory.max of the group that holds all runs, in bytes; 0 is none.
	Budget int64
	// Origin is what the daemon before this one in the same process has left, see
	// Root.Leave; nil is nothing.
	Origin *Origin
	// Trial refuses a root in which runs of a daemon may live: Sweep would end them.
	Trial  bool
	Logger *slog.Logger
}

// ErrUnsupported is wrapped by every refusal of Open: no root on this host.
var ErrUnsupported = errors.New("no cgroup v2 tree we may make groups in")

// ErrLive is wrapped by Open's refusal of a trial beside a daemon's runs.
var ErrLive = errors.New("runs of a daemon are there, and a trial would end them")

// ErrName is wrapped by NewGroup's refusal of an id that no group can have.
var ErrName = errors.New("reserved name")

// ErrKernel is wrapped by NewGroup's refusals that are the kernel's: a group that
// couldn't be made, or a limit that couldn't be set.
var ErrKernel = errors.New("the kernel refuses")

// ErrBusy is wrapped when a group still holds processes.
var ErrBusy = cgroupfs.ErrBusy
