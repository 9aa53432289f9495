// Package cgroup is the kernel's side of a run: it finds where groups may be
// made, makes one cgroup v2 group per run with limits, kills it, waits until
// it is empty, reads what it used and removes it. No other package touches the
// cgroup file system. Reference: Linux Documentation/admin-guide/cgroup-v2.rst.
package cgroup

import (
	"errors"
	"log/slog"
	"time"
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
	Logger *slog.Logger
}

// ErrUnsupported is wrapped by every refusal of Open: no root on this host.
var ErrUnsupported = errors.New("no cgroup v2 tree we may make groups in")

// ErrBusy is wrapped when a group still holds processes.
var ErrBusy = errors.New("group still has processes")

// Receipt is what a run used, read from its group before removal. A nil field
// is one the kernel (or this host) doesn't tell, which is not zero.
type Receipt struct {
	MemoryPeakBytes  *uint64 `json:"memory_peak_bytes,omitempty"` // memory.peak (5.19); an estimate where Estimated has "memory"
	MemoryMaxBytes   *uint64 `json:"memory_max_bytes,omitempty"`  // the limit in force
	OOMEvents        *uint64 `json:"oom_events,omitempty"`        // memory.events.local: oom
	OOMKills         *uint64 `json:"oom_kills,omitempty"`         // memory.events.local: oom_kill
	OOMGroupKills    *uint64 `json:"oom_group_kills,omitempty"`   // memory.events.local: oom_group_kill (5.17)
	SwapPeakBytes    *uint64 `json:"swap_peak_bytes,omitempty"`
	PidsPeak         *uint64 `json:"pids_peak,omitempty"` // pids.peak (6.1)
	PidsMax          *uint64 `json:"pids_max,omitempty"`
	PidsRefused      *uint64 `json:"pids_refused,omitempty"` // pids.events: max
	CPUUserUsec      *uint64 `json:"cpu_user_usec,omitempty"`
	CPUSystemUsec    *uint64 `json:"cpu_system_usec,omitempty"`
	CPUThrottledUsec *uint64 `json:"cpu_throttled_usec,omitempty"`
	IOReadBytes      *uint64 `json:"io_read_bytes,omitempty"`
	IOWriteBytes     *uint64 `json:"io_write_bytes,omitempty"`
	// MemoryPressureUsec and CPUPressureUsec are the totals of the "some" line.
	MemoryPressureUsec *uint64 `json:"memory_pressure_usec,omitempty"`
	CPUPressureUsec    *uint64 `json:"cpu_pressure_usec,omitempty"`
	// Exceeded is "memory" or "pids" when our own watch ended the group.
	Exceeded   string   `json:"exceeded,omitempty"`
	Estimated  []string `json:"estimated,omitempty"` // fields that are sampled, not counted by the kernel
	EnforcedBy Enforced `json:"enforced_by"`
}

// Usage is a live reading of one group or of the whole tree; nil is unknown.
type Usage struct {
	MemoryBytes *uint64 // memory.current, or the watch's last sum
	Pids        *uint64 // tasks: pids.current, else processes counted
	Processes   int     // entries of cgroup.procs, whole subtree
	CPUUsec     *uint64 // cpu.stat: usage_usec
	IOBytes     *uint64 // io.stat: rbytes + wbytes
	// PSI "some"/"full" avg10 in percent.
	MemorySomeAvg10, MemoryFullAvg10, CPUSomeAvg10 *float64
}

// Swept tells what Sweep found.
type Swept struct {
	Groups    int // leftover groups removed
	Processes int // processes they still held
	Left      []string
}

// The contract of this package; the bodies live one file per kernel file:
//
//	func Open(ctx context.Context, o Options) (*Root, error)
//	func (r *Root) Path() string         // absolute directory
//	func (r *Root) Source() string       // "unit", "subtree" (later "scope")
//	func (r *Root) Enforced() Enforced
//	func (r *Root) Sweep(ctx context.Context) (Swept, error)
//	func (r *Root) Usage() (Usage, error)           // all runs together
//	func (r *Root) Leaked() int                     // groups the janitor still works on
//	func (r *Root) Close(ctx context.Context) error // leaves the tree as it was found
//	func (r *Root) NewGroup(id string, res *specs.LinuxResources) (*Group, error)
//	func (g *Group) ID() string
//	func (g *Group) FD() int                        // for SysProcAttr.CgroupFD
//	func (g *Group) ApplyCPU() error                // cpu.weight, cpu.max: only after Start, see design.md
//	func (g *Group) Procs() ([]int, error)          // whole subtree, by cgroup.procs
//	func (g *Group) Populated() (bool, error)
//	func (g *Group) Kill() error
//	func (g *Group) WaitEmpty(ctx context.Context) error // ErrBusy wrapped on deadline
//	func (g *Group) Usage() (Usage, error)
//	func (g *Group) Receipt() (Receipt, error)
//	func (g *Group) Remove(ctx context.Context) error   // bounded; a refusal hands it to the janitor
//	func (g *Group) Gone() <-chan struct{}              // closed when the directory is removed, also by the janitor
//	func Resources(l Limits) *specs.LinuxResources
//	func Host() (Report, error)                          // for `penstock check`

// Limits in our own words; Resources turns them into OCI form. Zero is "not set".
type Limits struct {
	MemoryMax  int64 // bytes
	MemoryHigh int64 // bytes
	SwapMax    int64 // bytes beside memory; 0 forbids swap
	PidsMax    int64
	CPUQuota   time.Duration // of CPU time per Period
	CPUPeriod  time.Duration
	CPUWeight  uint64 // 1..10000
}
