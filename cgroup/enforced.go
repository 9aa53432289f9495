package cgroup

import "penstock/cgroup/root"

// What holds limits is decided with the root, and told of each group.
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
