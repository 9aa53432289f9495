package cgroup

import (
	"errors"

	"penstock/cgroup/root"
)

// Detach closes the root and touches nothing: every group, its processes and the
// daemon itself stay where they are, for the Open that follows, which is to be
// given the Origin.
func (t *Tree) Detach() (root.Origin, error) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return root.Origin{}, nil
	}
	t.closed = true
	t.mu.Unlock()
	close(t.stop)
	t.workers.Wait()
	var errs []error
	for _, g := range t.liveGroups() {
		errs = append(errs, g.dir.Close())
	}
	origin, err := t.root.Detach()
	return origin, errors.Join(append(errs, err)...)
}
