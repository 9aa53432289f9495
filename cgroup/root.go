package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"

	"penstock/cgroup/cgroupfs"
)

// errClosing answers NewGroup once Close has begun.
var errClosing = errors.New("cgroup root is closed")

// Root is the subtree the daemon owns: <root>/daemon holds the daemon itself,
// <root>/runs one group per run. All methods may be called concurrently.
type Root struct {
	path     string
	source   string
	mode     Mode
	budget   int64 // SetBudget's, bytes; 0 is none
	enforced Enforced
	countsIO bool // the groups below have the io controller
	log      *slog.Logger
	runs     *cgroupfs.Dir
	top      string // of the cgroup2 mount: where the groups above end
	tasks    taskHeadroom
	origin   Origin // what Close takes back
	// limitsBefore are those of runs as Open found them, by their files.
	limitsBefore map[string]string
	// grandfathered says that runs of an earlier daemon may have more than the
	// budget, toldUse that this has been logged.
	grandfathered, budgetWarned bool
	enforcer                    *enforcer   // nil where the kernel holds every limit
	stopSpares                  atomic.Bool // a stop of the unit signals the daemon alone

	stop    chan struct{} // closed by Close: ends the janitors
	workers sync.WaitGroup
	retries atomic.Uint64

	mu     sync.Mutex
	closed bool
	groups map[string]*Group // nil value: being made
	leaked map[*Group]struct{}
}

// Path is the absolute directory of the root.
func (r *Root) Path() string { return r.path }

// Source says where the root comes from: "unit", "scope" or "subtree".
func (r *Root) Source() string { return r.source }

// Enforced says who holds the limits of the groups below.
func (r *Root) Enforced() Enforced { return r.enforced }

// Leaked counts the groups the janitor still works on.
func (r *Root) Leaked() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.leaked)
}

// Remains asks the kernel which run groups are there and which processes they
// hold; after Close it is the proof that nothing was left.
func (r *Root) Remains() (groups []string, pids []int, err error) {
	path := r.runs.Path
	groups, err = cgroupfs.Children(path)
	if err != nil && !cgroupfs.IsVanished(err) {
		return nil, nil, err
	}
	pids, err = cgroupfs.ProcsAt(path)
	if err != nil && !cgroupfs.IsVanished(err) {
		return groups, nil, err
	}
	return groups, pids, nil
}

// RemoveRetries counts the janitor's attempts since Open.
func (r *Root) RemoveRetries() uint64 { return r.retries.Load() }

// reserve takes an id before its directory exists, so that Sweep, which looks
// at directories, can't take it for a leftover.
func (r *Root) reserve(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errClosing
	}
	if _, ok := r.groups[id]; ok {
		return fmt.Errorf("%w: a group is used once", fs.ErrExist)
	}
	r.groups[id] = nil
	return nil
}

// release gives an id back; it and keep are the only writers beside reserve.
func (r *Root) release(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.groups, id)
}

func (r *Root) register(g *Group) {
	r.mu.Lock()
	r.groups[g.id] = g
	r.mu.Unlock()
	if r.enforcer != nil {
		r.enforcer.wake()
	}
}

// liveGroups lists the groups that are made and not yet removed.
func (r *Root) liveGroups() []*Group {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*Group
	for _, g := range r.groups {
		if g != nil {
			all = append(all, g)
		}
	}
	return all
}

// isMade tells whether a group that is there was made here.
func (r *Root) isMade(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.groups[id]
	return g != nil && g.made
}

func (r *Root) unregister(g *Group) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.leaked, g)
	if r.groups[g.id] == g {
		delete(r.groups, g.id)
	}
}
