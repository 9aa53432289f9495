package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"

	"penstock/cgroup/cgroupfs"
	"penstock/cgroup/root"
)

// errClosing answers NewGroup once Close has begun.
var errClosing = errors.New("cgroup root is closed")

// Tree is all groups of runs below one root. All methods may be called concurrently.
type Tree struct {
	root     *root.Root
	runs     *cgroupfs.Dir // the root's
	enforced Enforced      // the root's
	log      *slog.Logger
	budget   int64 // SetBudget's, bytes; 0 is none
	// grandfathered says that runs of an earlier daemon may have more than the
	// budget, budgetWarned that this has been logged.
	grandfathered, budgetWarned bool
	enforcer                    *enforcer // nil where the kernel holds every limit

	stop    chan struct{} // closed by Close: ends the janitors
	workers sync.WaitGroup
	retries atomic.Uint64

	mu     sync.Mutex
	closed bool
	groups map[string]*Group // nil value: being made
	leaked map[*Group]struct{}
}

// Open finds a root for the groups of runs, see root.Open, and gives all of them
// together their budget.
func Open(ctx context.Context, o Options) (*Tree, error) {
	if o.Budget < 0 || (o.Budget > 0 && o.Budget < memoryFloor) {
		return nil, fmt.Errorf("cgroup budget: %d: below %d bytes no run fits: raise it", o.Budget, int64(memoryFloor))
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var t *Tree
	err := root.Open(ctx, root.Options{Mode: o.Mode, Name: o.Name, Origin: o.Origin, Trial: o.Trial, Logger: o.Logger}, func(r *root.Root) (err error) {
		t, err = newTree(ctx, r, o)
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// newTree begins to hold the limits of a root's groups, or rolls the root back.
func newTree(ctx context.Context, r *root.Root, o Options) (*Tree, error) {
	t := &Tree{
		root: r, runs: r.Runs(), enforced: r.Enforced(), log: o.Logger, budget: o.Budget, grandfathered: r.HasLeftovers(),
		stop: make(chan struct{}), groups: map[string]*Group{}, leaked: map[*Group]struct{}{},
	}
	if t.enforced.Memory != Kernel || t.enforced.Pids != Kernel {
		t.startEnforcer()
	}
	err := t.applyBudget()
	if err == nil {
		_, err = t.Follow()
	}
	if err != nil {
		return nil, errors.Join(err, t.Abandon(context.WithoutCancel(ctx)))
	}
	return t, nil
}

// Path is the absolute directory of the root.
func (t *Tree) Path() string { return t.root.Path() }

// Source says where the root comes from: "unit", "scope" or "subtree".
func (t *Tree) Source() string { return t.root.Source() }

// Enforced tells what holds the limits of the groups below.
func (t *Tree) Enforced() Enforced { return t.enforced }

// Stopping tells whether a service manager is ending everything around the daemon,
// see root.Root.
func (t *Tree) Stopping(ctx context.Context) (bool, error) { return t.root.Stopping(ctx) }

// Leaked counts the groups the janitor still works on.
func (t *Tree) Leaked() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.leaked)
}

func (t *Tree) isLeaked(g *Group) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.leaked[g]
	return ok
}

// Remains asks the kernel which run groups are there and which processes they
// hold; after Close it is the proof that nothing was left.
func (t *Tree) Remains() (groups []string, pids []int, err error) {
	path := t.runs.Path
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
func (t *Tree) RemoveRetries() uint64 { return t.retries.Load() }

// reserve takes an id before its directory exists, so that Sweep, which looks
// at directories, can't take it for a leftover.
func (t *Tree) reserve(id string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errClosing
	}
	if _, ok := t.groups[id]; ok {
		return fmt.Errorf("%w: a group is used once", fs.ErrExist)
	}
	t.groups[id] = nil
	return nil
}

// release gives an id back; it and keep are the only writers beside reserve.
func (t *Tree) release(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.groups, id)
}

func (t *Tree) register(g *Group) {
	t.mu.Lock()
	t.groups[g.id] = g
	t.mu.Unlock()
	if t.enforcer != nil {
		t.enforcer.wake()
	}
}

// liveGroups lists the groups that are made and not yet removed.
func (t *Tree) liveGroups() []*Group { return t.appendLive(nil) }

// appendLive adds them to a list.
func (t *Tree) appendLive(all []*Group) []*Group {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, g := range t.groups {
		if g != nil {
			all = append(all, g)
		}
	}
	return all
}

// isMade tells whether a group that is there was made here.
func (t *Tree) isMade(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.groups[id]
	return g != nil && g.made
}

func (t *Tree) unregister(g *Group) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.leaked, g)
	if t.groups[g.id] == g {
		delete(t.groups, g.id)
	}
}
