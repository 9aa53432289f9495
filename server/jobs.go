package server

import (
	"maps"
	"slices"
	"sync"
)

// jobs are all requests that have or want a run, by run id. A durable one
// stays known after its end, as long as its run's record does, so that the
// same request can attach again.
type jobs struct {
	mu     sync.Mutex
	closed bool
	byID   map[string]*job
	live   sync.WaitGroup // jobs whose launch has not returned
}

func newJobs() *jobs { return &jobs{byID: map[string]*job{}} }

// runIndex is what there is of runs, in memory: those with a record, which a restart
// may have left, and those that have none any more.
type runIndex interface {
	known(id string) bool
	pruned(j *job) bool // a run of the same id and request
}

// claim registers j, or finds the job that has its id already.
func (s *jobs) claim(j *job, runs runIndex) (*job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropPruned(runs)
	if old, err := s.attach(j, runs); old != nil || err != nil {
		return old, err
	}
	if s.closed {
		return nil, shuttingDown()
	}
	if j.durable && runs.known(j.id) {
		return nil, conflict(j.id)
	}
	s.byID[j.id] = j
	s.live.Add(1)
	return j, nil
}

// restore registers the job of a run that an earlier daemon has started.
func (s *jobs) restore(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[j.id] = j
	s.live.Add(1)
}

// find is claim without registering: nil when the id is free.
func (s *jobs) find(j *job, runs runIndex) (*job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attach(j, runs)
}

// attach is for a job whose id is that of another: a run that is not kept any more
// can't be read, and is not started anew either.
func (s *jobs) attach(j *job, runs runIndex) (*job, error) {
	old, ok := s.byID[j.id]
	if ok && old.over() && !runs.known(j.id) {
		delete(s.byID, j.id)
		ok = false
	}
	if !ok && runs.pruned(j) {
		return nil, replayGone(j.id)
	}
	if !ok {
		return nil, nil
	}
	if old.client != j.client || old.fingerprint != j.fingerprint {
		return nil, conflict(j.id)
	}
	return old, nil
}

// dropPruned drops ended jobs whose record is gone.
func (s *jobs) dropPruned(runs runIndex) {
	for id, j := range s.byID {
		if j.over() && !runs.known(id) {
			delete(s.byID, id)
		}
	}
}

// ended is called once by each launch; a job that can't be attached to again,
// or that never got a run, is dropped.
func (s *jobs) ended(j *job) {
	s.mu.Lock()
	if !j.durable || j.run == nil {
		delete(s.byID, j.id)
	}
	s.mu.Unlock()
	s.live.Done()
}

// get finds a job by its run id.
func (s *jobs) get(id string) (*job, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, ok := s.byID[id]
	return j, ok
}

func (s *jobs) all() []*job {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.byID))
}

// queued are the jobs that wait for their run.
func (s *jobs) queued() []*job {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*job
	for _, j := range s.byID {
		if !j.begun() {
			out = append(out, j)
		}
	}
	return out
}

// close makes claim refuse new jobs. Only after it may live be waited for.
func (s *jobs) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}
