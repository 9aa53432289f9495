package server

import (
	"errors"
	"maps"
	"slices"
	"sync"
)

// jobs are all requests that have or want a run, by run id, until that has ended. The
// same request as that of a durable run that is kept attaches to it again.
type jobs struct {
	mu     sync.Mutex
	closed bool
	byID   map[string]*job
	live   sync.WaitGroup // jobs that have not ended
}

func newJobs() *jobs { return &jobs{byID: map[string]*job{}} }

// runIndex is what there is of runs: those with a record, which a restart
// may have left, and those that have none any more.
type runIndex interface {
	known(id string) bool          // from memory
	ended(id string) (*job, error) // of a durable run that has ended and is kept; nil is none
	pruned(j *job) bool            // a run of the same id and request
}

// claim registers j, or finds the job that has its id already.
func (s *jobs) claim(j *job, runs runIndex) (*job, error) {
	return s.attach(j, runs, func() (*job, error) {
		if s.closed {
			return nil, shuttingDown()
		}
		if j.durable && runs.known(j.id) {
			return nil, conflict(j.id)
		}
		s.byID[j.id] = j
		s.live.Add(1)
		return j, nil
	})
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
	return s.attach(j, runs, func() (*job, error) { return nil, nil })
}

// attach is for a job whose id is that of another: a run that is not kept any more
// can't be read, and is not started anew either. free is called with the lock held
// where there is none.
func (s *jobs) attach(j *job, runs runIndex, free func() (*job, error)) (*job, error) {
	old, err := s.orElse(j.id, func() (*job, error) {
		if j.durable && runs.known(j.id) {
			return nil, errEnded
		}
		if runs.pruned(j) {
			return nil, replayGone(j.id)
		}
		return free()
	})
	if errors.Is(err, errEnded) { // what is kept of it is read from the disk, without the lock
		old, err = runs.ended(j.id)
		if err == nil && old == nil {
			err = conflict(j.id)
		}
	}
	if err != nil || old == nil || old == j {
		return old, err
	}
	if old.client != j.client || old.fingerprint != j.fingerprint {
		return nil, conflict(j.id)
	}
	return old, nil
}

// errEnded is of a run that has ended and is kept.
var errEnded = errors.New("the run has ended")

// orElse gives the job of an id, or what free makes with the lock held.
func (s *jobs) orElse(id string, free func() (*job, error)) (*job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.byID[id]; ok {
		return old, nil
	}
	return free()
}

// ended is called once for each job; what is known of its run from then on is
// what is kept of it.
func (s *jobs) ended(j *job) {
	s.mu.Lock()
	delete(s.byID, j.id)
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
