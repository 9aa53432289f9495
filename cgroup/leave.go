package cgroup

import "errors"

// Detach closes the root and touches nothing: every group, its processes and the
// daemon itself stay where they are, for the Open that follows, which is to be
// given the Origin.
func (r *Root) Detach() (Origin, error) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return Origin{}, nil
	}
	r.closed = true
	r.mu.Unlock()
	close(r.stop)
	r.workers.Wait()
	var errs []error
	for _, g := range r.liveGroups() {
		errs = append(errs, g.dir.Close())
	}
	return r.origin, errors.Join(append(errs, r.runs.Close())...)
}
