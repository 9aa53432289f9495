package cgroup

import "time"

// A group that uses no processor time doesn't grow: its own tasks touch its pages and
// make its tasks. So at each turn the enforcer reads one number, the processor time of
// all groups together, and sums over /proc where a group could have come to a limit
// since its last sum.

const (
	// touchRate is more than a processor can touch of new memory, in bytes a
	// microsecond: of the kernel's clearing of huge pages 7 to 26 KiB are known.
	touchRate = 32 << 10
	// forkTime is less processor time than a new task takes, in microseconds.
	forkTime = 5
	// busyTime is the processor time, in microseconds, after which a group is summed
	// however far its limits are: the receipt tells its peak.
	busyTime = 2000
	// quietAge is how old the sum gets of a group that uses any processor time, restAge
	// of any other: what others do to its memory, such as khugepaged or a
	// process_vm_writev(2) from outside, costs it none.
	quietAge = 2 * time.Second
	restAge  = 10 * time.Second
)

// standing is what the enforcer knows of a group.
type standing struct {
	sum sample    // the last one over /proc
	at  time.Time // of it
	// used is the group's processor time before it, all that of all groups together,
	// so that what all have used since is never less than what the group has; both in
	// microseconds.
	used, all uint64
}

// slack is how much processor time a group may use after a sum before it is summed again, in
// microseconds.
func (s groupLimits) slack(now sample, e Enforced) uint64 {
	left := uint64(busyTime)
	if e.Memory == Watch && s.memoryMax != nil {
		left = min(left, below(now.memory, uint64(*s.memoryMax))/touchRate)
	}
	if e.Pids == Watch && s.pidsMax != nil {
		left = min(left, below(now.tasks, uint64(*s.pidsMax))*forkTime)
	}
	return left
}

// below is how far n is below a limit.
func below(n, limit uint64) uint64 { return limit - min(n, limit) }

// due tells whether a group is to be summed: it could have come to a limit of its own,
// was busy, or its sum is old. all is the processor time of all groups together.
func (w *enforcer) due(g *Group, all uint64, now time.Time) bool {
	s := w.seen[g]
	if s == nil || now.Sub(s.at) >= restAge {
		return true
	}
	slack := g.limits.slack(s.sum, w.tree.enforced)
	if now.Sub(s.at) >= quietAge {
		slack = 0
	}
	if all-s.all <= slack {
		return false
	}
	used, err := s.ask(g, all)
	return err != nil || used > slack
}

// ask gives the processor time of the group itself since its last sum.
func (s *standing) ask(g *Group, all uint64) (uint64, error) {
	used, err := g.dir.CPUTime()
	if err != nil {
		return 0, err
	}
	s.all = all - (used - s.used) // what the others have used since is none of its own
	return used - s.used, nil
}

// mayPass tells whether all groups together could have come to a limit of theirs.
func (w *enforcer) mayPass(groups []*Group, all uint64) bool {
	sum := w.together(groups)
	used := w.unsummed + all - w.all
	return w.overBudget(sum.memory+used*touchRate) || w.overTasks(sum.tasks+used/forkTime)
}

// moved asks every group for its processor time since its last sum and gives those
// that have used any and were not summed just now.
func (w *enforcer) moved(groups []*Group, all uint64, now time.Time) (moved []*Group) {
	w.unsummed, w.all = 0, all
	for _, g := range groups {
		s := w.seen[g]
		if s == nil {
			continue // gone, or told of by sum
		}
		used, err := s.ask(g, all)
		if (err != nil || used > 0) && !s.at.Equal(now) {
			moved = append(moved, g)
		}
		w.unsummed += used
	}
	return moved
}
