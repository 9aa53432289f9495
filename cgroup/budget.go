package cgroup

import (
	"bytes"
	"errors"
	"io/fs"

	"penstock/cgroup/cgroupfs"
	"penstock/cgroup/root"
)

// SetBudget gives all runs together so many bytes, 0 is no limit. Where they have
// more the kernel, or the enforcer, ends the one that has most; runs of an earlier
// daemon are let have more, see applyBudget.
func (t *Tree) SetBudget(bytes int64) error {
	t.budget = bytes
	return t.applyBudget()
}

// applyBudget puts the budget into force. Runs that an earlier daemon has left were
// given their memory under that one's budget, and are not ended for a lower one:
// what limited all runs together before stays until they have less.
func (t *Tree) applyBudget() error {
	if t.grandfathered {
		used, known, err := t.budgetUse()
		if err != nil {
			return err
		}
		if t.budget > 0 && (!known || used > uint64(t.budget)) {
			if known && !t.budgetWarned {
				t.budgetWarned = true
				t.log.Warn("runs of an earlier daemon have more memory than the budget: it is in force once they have less", "used", used, "budget", t.budget)
			}
			return nil
		}
		t.grandfathered = false
	}
	if t.enforced.Memory == Kernel {
		return t.runs.Set(budgetLimit(t.budget))
	}
	t.enforcer.budget.Store(uint64(t.budget))
	return nil
}

// budgetUse is the memory that all runs together have, less what the kernel takes
// back from files before it ends anything; known is false until the enforcer has seen
// all that was left.
func (t *Tree) budgetUse() (bytes uint64, known bool, err error) {
	if t.enforced.Memory == Kernel {
		read := &cgroupfs.StatReader{Dir: t.runs}
		now, stat := read.Value("memory.current"), read.Keyed("memory.stat")
		if now == nil {
			return 0, false, read.Err()
		}
		bytes = *now
		for _, files := range []*uint64{stat.Get("active_file"), stat.Get("inactive_file")} {
			if files != nil {
				bytes -= min(bytes, *files)
			}
		}
		return bytes, true, read.Err()
	}
	left, err := cgroupfs.Children(t.runs.Path)
	if err != nil {
		return 0, false, err
	}
	seen := 0
	for _, g := range t.liveGroups() {
		if s, ok := g.history.last(); ok {
			bytes += s.memory
			seen++
		}
	}
	return bytes, seen >= len(left), nil
}

func budgetLimit(bytes int64) cgroupfs.Limit {
	if bytes > 0 {
		return cgroupfs.BytesLimit("memory.max", bytes)
	}
	return cgroupfs.TextLimit("memory.max", "max")
}

// Follow reads the limits above the root anew and gives all runs together as
// many tasks as they leave: as pids.max, or to the enforcer. Not for concurrent use,
// nor beside SetBudget.
func (t *Tree) Follow() (root.Above, error) {
	var a root.Above
	if b, ok := t.root.MemoryAbove(); ok {
		a.Memory = &b
	}
	var budgetErr error
	if t.grandfathered {
		budgetErr = t.applyBudget()
	}
	left, ok := t.root.TasksAbove(t.inRuns())
	if !ok {
		return a, errors.Join(budgetErr, t.limitTasks(nil))
	}
	a.Tasks = &left
	return a, errors.Join(budgetErr, t.limitTasks(&left.N))
}

// inRuns is the number of tasks in all runs.
func (t *Tree) inRuns() int64 {
	if n, err := cgroupfs.Parse(t.runs, "pids.current", cgroupfs.ParseValue); err == nil {
		return int64(n)
	}
	sum, _ := t.enforcedSum()
	return int64(sum.tasks)
}

// limitTasks caps the tasks of all runs together; nil takes the cap away.
func (t *Tree) limitTasks(n *int64) error {
	if t.enforcer != nil {
		t.enforcer.tasks.Store(-1)
		if n != nil {
			t.enforcer.tasks.Store(*n)
		}
	}
	want := cgroupfs.TextLimit("pids.max", "max")
	if n != nil {
		want = cgroupfs.NumberLimit("pids.max", *n)
	}
	b, err := t.runs.Read("pids.max")
	if cgroupfs.IsAbsent(err) || errors.Is(err, fs.ErrClosed) {
		return nil
	}
	if err == nil && string(bytes.TrimSpace(b)) == want.ReadsBack {
		return nil
	}
	return t.runs.Set(want)
}
