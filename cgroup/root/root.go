package root

import (
	"errors"
	"log/slog"
	"sync/atomic"

	"penstock/cgroup/cgroupfs"
)

// Options choose the root.
type Options struct {
	Mode Mode
	// Name of the subtree we make where none was delegated; [a-z0-9-]+. It is
	// stable for one state directory, so that a restart finds leftovers.
	Name string
	// Origin is what the daemon before this one in the same process has left, see
	// Root.Detach; nil is nothing.
	Origin *Origin
	// Trial refuses a root in which runs of a daemon may live.
	Trial  bool
	Logger *slog.Logger
}

// Root is the subtree the daemon owns: <root>/daemon holds the daemon itself,
// <root>/runs one group per run.
type Root struct {
	path     string
	source   string
	mode     Mode
	top      string // of the cgroup2 mount: where the groups above end
	log      *slog.Logger
	enforced Enforced
	countsIO bool
	runs     *cgroupfs.Dir
	origin   Origin // what Rollback takes back
	// hasLeftovers says that groups of an earlier daemon were there.
	hasLeftovers bool
	// limitsBefore are those of runs as Open found them, by their files.
	limitsBefore map[string]string
	tasks        taskHeadroom
	stopSpares   atomic.Bool // a stop of the unit signals the daemon alone
}

// Path is the absolute directory of the root.
func (r *Root) Path() string { return r.path }

// Source says where the root comes from: "unit", "scope" or "subtree".
func (r *Root) Source() string { return r.source }

// Runs is the group that holds all runs.
func (r *Root) Runs() *cgroupfs.Dir { return r.runs }

// Enforced tells what holds the limits of the groups below.
func (r *Root) Enforced() Enforced { return r.enforced }

// CountsIO tells whether the groups below have the io controller.
func (r *Root) CountsIO() bool { return r.countsIO }

// HasLeftovers tells whether Open found groups of an earlier daemon.
func (r *Root) HasLeftovers() bool { return r.hasLeftovers }

// MemoryAbove is the smallest memory.max or memory.high over the root.
func (r *Root) MemoryAbove() (Bound, bool) { return memoryAbove(r.path, r.top) }

// TasksAbove is how many tasks the limits above leave to all runs together, which
// have inRuns now. Not for concurrent use.
func (r *Root) TasksAbove(inRuns int64) (Bound, bool) {
	return r.tasks.remaining(r.path, r.top, inRuns, r.runs.Procs)
}

// Detach closes the root and touches nothing, for the Open that follows, which is to
// be given the Origin.
func (r *Root) Detach() (Origin, error) { return r.origin, r.runs.Close() }

// Mode says how much of the cage the kernel itself must hold.
type Mode string

const (
	// Strict needs the memory and pids controllers of cgroup v2.
	Strict Mode = "strict"
	// Available also accepts a v2 tree without them: group, kill and emptiness
	// are then the kernel's, memory and pids are held by the enforcer.
	Available Mode = "available"
)

// Enforcer names what holds a limit.
type Enforcer string

const (
	Kernel Enforcer = "kernel"
	Watch  Enforcer = "watch"
)

// Enforced tells what holds each limit of the groups below one root.
type Enforced struct {
	Memory Enforcer `json:"memory"`
	Pids   Enforcer `json:"pids"`
	Kill   Enforcer `json:"kill"`
	// CPU is empty where the cpu controller is missing: then cpu_max and
	// cpu_weight can't be honoured and a run that asks for them is refused.
	CPU Enforcer `json:"cpu,omitempty"`
}

// LogValue names what holds each limit.
func (e Enforced) LogValue() slog.Value {
	held := []slog.Attr{slog.String("memory", string(e.Memory)), slog.String("pids", string(e.Pids)), slog.String("kill", string(e.Kill))}
	if e.CPU != "" {
		held = append(held, slog.String("cpu", string(e.CPU)))
	}
	return slog.GroupValue(held...)
}

// ErrUnsupported is wrapped by every refusal of Open: no root on this host.
var ErrUnsupported = errors.New("no cgroup v2 tree we may make groups in")

// ErrLive is wrapped by Open's refusal of a trial beside a daemon's runs.
var ErrLive = errors.New("runs of a daemon are there, and a trial would end them")
