package spawn

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"penstock/cgroup"
)

// Names the packages above need without knowing cgroups.
type (
	Mode         = cgroup.Mode
	Limits       = cgroup.Limits
	GroupOptions = cgroup.Options
	Enforced     = cgroup.Enforced
	Origin       = cgroup.Origin
	Above        = cgroup.Above
	Bound        = cgroup.Bound
)

// Resources is the OCI form of l, as carried in a Command.
func Resources(l Limits) *specs.LinuxResources { return cgroup.Resources(l) }
