package store

import (
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Bounds are the widest figures that a run of an earlier daemon may have; but for
// Grace 0 is no bound.
type Bounds struct {
	Limits             *specs.LinuxResources // of memory and pids
	Timeout            time.Duration         // from its start
	Grace, Stall       time.Duration
	OutputMax, LineMax int64
}

// Apply narrows a run's figures to the bounds: a daemon with a narrower
// configuration, or one that could not keep runs from its files, may have left
// them.
func (b Bounds) Apply(r *Record, cp *Checkpoint, now time.Time) {
	cp.OutputMax, cp.LineMax = clamp(cp.OutputMax, b.OutputMax), clamp(cp.LineMax, b.LineMax)
	cp.Stall = clamp(cp.Stall, b.Stall)
	cp.Grace = min(max(cp.Grace, 0), b.Grace)
	if r.Started != nil && r.Started.After(now) {
		r.Started = &now
	}
	if b.Timeout > 0 {
		last := now
		if r.Started != nil {
			last = *r.Started
		}
		last = last.Add(b.Timeout)
		if cp.Deadline.IsZero() || cp.Deadline.After(last) {
			cp.Deadline = last
		}
	}
	if b.Limits == nil {
		return
	}
	if m := b.Limits.Memory; m != nil && m.Limit != nil {
		r.Limits = WithMemory(r.Limits, clamp(MemoryOf(r.Limits), *m.Limit))
	}
	if p := b.Limits.Pids; p != nil && p.Limit != nil {
		r.Limits = WithPids(r.Limits, clamp(pidsOf(r.Limits), *p.Limit))
	}
}

// clamp is v, or most where v is none or more.
func clamp[T int64 | time.Duration](v, most T) T {
	if most > 0 && (v <= 0 || v > most) {
		return most
	}
	return v
}

// WithMemory is what a run's record says of its limits, with another memory cap:
// its reservation is made of that.
func WithMemory(l *specs.LinuxResources, most int64) *specs.LinuxResources {
	all := cloneLimits(l)
	var memory specs.LinuxMemory
	if all.Memory != nil {
		memory = *all.Memory
	}
	memory.Limit = &most
	all.Memory = &memory
	return &all
}

// WithPids is the same with another cap on processes.
func WithPids(l *specs.LinuxResources, most int64) *specs.LinuxResources {
	all := cloneLimits(l)
	all.Pids = &specs.LinuxPids{Limit: &most}
	return &all
}

func cloneLimits(l *specs.LinuxResources) specs.LinuxResources {
	if l == nil {
		return specs.LinuxResources{}
	}
	return *l
}

// MemoryOf is a run's memory cap in bytes; 0 is none.
func MemoryOf(l *specs.LinuxResources) int64 {
	if l == nil || l.Memory == nil || l.Memory.Limit == nil {
		return 0
	}
	return *l.Memory.Limit
}

// pidsOf is how many processes a run may have; 0 is no cap.
func pidsOf(l *specs.LinuxResources) int64 {
	if l == nil || l.Pids == nil || l.Pids.Limit == nil {
		return 0
	}
	return *l.Pids.Limit
}
