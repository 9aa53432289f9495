package cgroup

import (
	"bytes"
	"errors"
	"io/fs"

	"penstock/cgroup/cgroupfs"
	"penstock/cgroup/root"
)

// Follow reads the limits above the root anew and gives all runs together as
// many tasks as they leave: as pids.max, or to the watch. Not for concurrent use,
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
