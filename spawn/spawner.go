package spawn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"penstock/cgroup"
	"penstock/sandbox"
)

// Spawner starts process trees below one cgroup root. Safe for concurrent use.
type Spawner struct {
	root     *cgroup.Tree
	launcher *sandbox.Launcher
	runtime  *Runtime          // nil: nothing runs in images
	mounting *sandbox.Launcher // of bubblewrap; nil without a runtime
	mask     sandbox.MaskPaths
	// protected is what no run in an image may have mounted, with what lies above.
	protected []string
	log       *slog.Logger
	mode      cgroup.Mode
	selfTest  string
	swept     cgroup.SweepResult
	startMax  time.Duration
	// lateMax is how long Start waits for the end of a child that it has killed for
	// not executing in time.
	lateMax time.Duration
	null    *os.File // /dev/null, where a command names no file
	groups  *sandbox.GroupFilter
	score   int // oom_score_adj of every child
	// trustsNotes tells whether what is noted in a group is the daemon's word. Landlock
	// doesn't keep a run from the extended attributes of its user's groups, a
	// read-only mount does.
	trustsNotes bool

	exits    *exitPoller
	children children
	reaps    bool // orphans, see Options.ReapOrphans

	closed chan struct{} // nothing removes groups any more
	health groupHealth

	mu      sync.Mutex
	closing bool
	live    map[*Process]struct{}
	kept    map[string]keptGroup // leftovers to be claimed
	starts  sync.WaitGroup       // under way
	watches sync.WaitGroup       // supervisors
}

// Open takes the cgroup root, clears what an earlier daemon left below it,
// prepares the launcher thread and, where asked, proves the whole path with a
// real child. Every failure is a refusal and leaves nothing of its own behind;
// in strict mode so is a launcher whose children could write to cgroups.
func Open(ctx context.Context, o Options) (*Spawner, error) {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	root, err := cgroup.Open(ctx, o.Cgroup)
	if err != nil {
		return nil, err
	}
	s := &Spawner{
		root: root, log: log, mode: o.Cgroup.Mode, selfTest: "off", startMax: startMax, lateMax: teardownMax,
		groups:   sandbox.NewGroupFilter(user.LookupGroup),
		children: children{known: map[int]struct{}{}}, reaps: o.ReapOrphans, runtime: o.Runtime, mask: o.Mask, protected: o.ProtectPaths,
		closed: make(chan struct{}), live: map[*Process]struct{}{}, kept: map[string]keptGroup{},
	}
	if err := s.prepare(ctx, o); err != nil {
		return nil, errors.Join(err, s.Abandon(context.WithoutCancel(ctx)))
	}
	return s, nil
}

func (s *Spawner) prepare(ctx context.Context, o Options) (err error) {
	if s.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
		return err
	}
	if s.score, err = sandbox.ChildOOMScore("/proc/self/oom_score_adj"); err != nil {
		return err
	}
	if s.exits, err = newExitPoller(); err != nil {
		return err
	}
	if err := s.keep(o.Keep); err != nil {
		return err
	}
	if s.swept, err = s.root.Sweep(ctx); err != nil {
		return fmt.Errorf("sweep %s: %w", s.root.Path(), err)
	}
	if s.swept.Groups > 0 || len(s.swept.Left) > 0 {
		s.log.Warn("an earlier daemon left groups behind",
			"removed", s.swept.Groups, "processes", s.swept.Processes, "still_there", s.swept.Left)
	}
	if s.launcher, err = sandbox.OpenLauncher(filepath.Join(s.root.Path(), "cgroup.procs"), o.Mask, o.ProtectPaths, s.log); err != nil {
		return fmt.Errorf("launcher: %w", err)
	}
	if s.runtime != nil {
		// What images are bound from is not covered for what binds them: see Image.
		protect := slices.DeleteFunc(slices.Clone(o.ProtectPaths), func(p string) bool { return slices.Contains(o.ImagePaths, p) })
		if s.mounting, err = sandbox.OpenMountingLauncher(o.Mask, protect, s.log); err != nil {
			return fmt.Errorf("launcher of runs in images: %w", err)
		}
	}
	is := s.launcher.State()
	s.trustsNotes = is.Mounts
	if len(is.Reachable) > 0 {
		s.log.Warn("runs can have others start a process for them, outside of their groups: to close these, run penstock as root with user = ..., or as the shipped unit", "reachable", is.Reachable)
	}
	if !is.Works {
		if s.mode == cgroup.Strict {
			return fmt.Errorf("launcher: escape proofing %s (hint: give CAP_SYS_ADMIN, enable Landlock, or set isolation = \"available\")", is.Escape)
		}
		s.log.Warn("children could write to cgroups", "escape_proofing", is.Escape)
	}
	if is.Gap != nil {
		s.log.Warn("a run that is root can leave its group through another user's process: run backends as a user (user = ...), or enable Landlock",
			"escape_proofing", is.Escape, "err", is.Gap)
	}
	if !o.SelfTest {
		return nil
	}
	if err := s.proveSpawn(ctx, o.SleepCommand); err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	s.selfTest = "passed"
	return nil
}

// Isolation is the state of the cage.
func (s *Spawner) Isolation() Isolation {
	e := s.root.Enforced()
	tested := s.selfTest
	if s.groupsFail() {
		tested = noGroupsText
	}
	is := s.launcher.State()
	return Isolation{
		Mode: s.mode, Root: s.root.Path(),
		Memory: e.Memory, Pids: e.Pids, Kill: e.Kill, CPU: e.CPU,
		SelfTest: tested, Escape: is.Escape, Store: is.Store, StoreOpen: is.StoreOpen,
		Hidden: is.Hidden, Reachable: is.Reachable, Late: is.Late, TooMany: is.TooMany,
		LeakedGroups: s.root.Leaked(), RemoveRetries: s.root.RemoveRetries(),
	}
}

// Enforced tells what holds each limit: the kernel or our own watch.
func (s *Spawner) Enforced() cgroup.Enforced { return s.root.Enforced() }

// Stopping tells whether the service manager is ending everything around the
// daemon, processes of runs included; an error is that it doesn't say.
func (s *Spawner) Stopping() (bool, error) { return s.root.Stopping(context.Background()) }

// Swept tells what an earlier daemon had left and Open removed.
func (s *Spawner) Swept() cgroup.SweepResult { return s.swept }

// Usage reads all runs together.
func (s *Spawner) Usage() (cgroup.TreeUsage, error) { return s.root.Usage() }

// Follow reads the limits above all runs anew; see cgroup.Root. Not for concurrent use.
func (s *Spawner) Follow() (Above, error) { return s.root.Follow() }

// SetBudget gives all runs together so many bytes of memory; see cgroup.Root.
func (s *Spawner) SetBudget(bytes int64) error { return s.root.SetBudget(bytes) }

// FilesInMemory is what runs, also finished ones, have left in memory file
// systems, in bytes; nil is unknown.
func (s *Spawner) FilesInMemory() (*uint64, error) { return s.root.FilesInMemory() }

// DyingGroups counts removed groups that the kernel still keeps; nil is unknown.
func (s *Spawner) DyingGroups() (*uint64, error) { return s.root.DyingGroups() }

// beginStart admits one start; every nil answer needs an endStart.
func (s *Spawner) beginStart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return sandbox.ErrClosed
	}
	s.starts.Add(1)
	return nil
}

func (s *Spawner) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

func (s *Spawner) endStart() { s.starts.Done() }

// supervise sees a process to its end from now on.
func (s *Spawner) supervise(p *Process) {
	s.mu.Lock()
	s.live[p] = struct{}{}
	s.mu.Unlock()
	if c, ok := childOf(p.leader); ok {
		s.children.know(c.pid())
		p.reaped = func() { s.children.forget(c.pid()) }
	}
	s.watches.Add(1)
	p.supervise(s.exits, s.closed, func() {
		s.mu.Lock()
		delete(s.live, p)
		s.mu.Unlock()
		s.watches.Done()
	})
}
