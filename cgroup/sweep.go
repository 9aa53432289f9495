package cgroup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"penstock/cgroup/cgroupfs"
)

// sweepBound is how long Sweep waits where ctx sets no deadline.
const sweepBound = 5 * time.Second

// SweepResult tells what Sweep found.
type SweepResult struct {
	Groups    int // leftover groups removed
	Processes int // processes they still held
	Left      []string
}

// Sweep ends and removes the groups an earlier daemon left under runs. What is
// not gone within ctx (5 s where ctx sets nothing) is named in Left and handed
// to the janitor; an error is only what kept us from trying.
func (t *Tree) Sweep(ctx context.Context) (SweepResult, error) {
	ctx, cancel := bounded(ctx, sweepBound)
	defer cancel()
	var s SweepResult
	left, err := t.leftovers()
	errs := []error{err}
	for _, g := range left {
		pids, err := g.Procs()
		s.Processes += len(pids)
		errs = append(errs, err, g.Kill())
	}
	for _, g := range left {
		err := errors.Join(g.WaitEmpty(ctx), g.Remove(ctx))
		if g.isGone() {
			s.Groups++
			continue
		}
		s.Left = append(s.Left, g.id)
		t.log.Warn("leftover group is not gone yet", "group", g.id, "error", err)
	}
	if err := errors.Join(errs...); err != nil {
		return s, fmt.Errorf("sweep %s: %w", t.runs.Path, err)
	}
	return s, nil
}

// leftovers opens the groups that are there but not ours. Each is registered,
// so that no other group is made of the same name while it is being removed.
func (t *Tree) leftovers() ([]*Group, error) {
	names, err := cgroupfs.Children(t.runs.Path)
	errs := []error{err}
	var found []*Group
	for _, name := range names {
		if t.reserve(name) != nil {
			continue
		}
		d, err := cgroupfs.OpenDir(t.runs.Path + "/" + name)
		if err != nil {
			t.release(name)
			if !cgroupfs.IsVanished(err) {
				errs = append(errs, err)
			}
			continue
		}
		g := t.trackGroup(name, d, groupLimits{})
		t.register(g)
		found = append(found, g)
	}
	return found, errors.Join(errs...)
}
