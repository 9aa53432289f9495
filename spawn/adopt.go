package spawn

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"penstock/cgroup"
	"penstock/internal/hostinfo"
	"penstock/internal/procinfo"
	"penstock/outcome"
)

// Leftover is a run of an earlier daemon that Open is not to sweep away, to be
// claimed with Adopt.
type Leftover struct {
	ID     string
	Limits *specs.LinuxResources
	Leader int // pid of its first process; 0 is unknown
	// InImage is a run with an Image.
	InImage bool
}

// keptGroup is a leftover's group until it is claimed.
type keptGroup struct {
	*cgroup.Group
	leader int
}

// keep takes the groups of leftovers. One that has no group, or limits that none
// can have, is left to be swept; where the host is what fails it is not known
// whether it lives, and nothing is swept.
func (s *Spawner) keep(left []Leftover) error {
	for _, l := range left {
		limits := l.Limits
		if l.InImage {
			limits = withOwnTasks(limits)
		}
		g, err := s.root.Adopt(l.ID, limits)
		var host unix.Errno
		switch {
		case err == nil:
			s.kept[l.ID] = keptGroup{g, l.Leader}
		case errors.Is(err, fs.ErrNotExist):
		case errors.As(err, &host):
			return fmt.Errorf("leftover run can't be kept: %w", err)
		default:
			s.log.Error("leftover run can't be kept: it is ended", "run", l.ID, "err", err)
		}
	}
	return nil
}

// Keeps tells whether a leftover's group is there to be claimed.
func (s *Spawner) Keeps(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.kept[id]
	return ok
}

// Adopt claims a leftover that Open has kept: its end is seen from now on, like
// that of a command started here, only that its exit status is unknown
// (Exit.Known) where the kernel doesn't tell it. leader is its first process, 0 where
// that isn't known: the group tells. Of the command only what concerns its end is used. The
// error wraps fs.ErrNotExist when there is no such leftover; after any other it
// is still there to be claimed.
func (s *Spawner) Adopt(c Command, leader int, started time.Time) (*Process, error) {
	s.mu.Lock()
	g, ok := s.kept[c.ID]
	delete(s.kept, c.ID)
	s.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("adopt %s: no group of that name was left: %w", c.ID, fs.ErrNotExist)
	}
	first, err := s.findLeader(g.Group, leader)
	if err != nil {
		s.mu.Lock()
		s.kept[c.ID] = g
		s.mu.Unlock()
		return nil, fmt.Errorf("adopt %s: %w", c.ID, err)
	}
	if c.Image != nil {
		inside, err := inImageOf(first, g.Group, c.Image.Status.Name())
		if err != nil {
			s.log.Error("how a run in an image ends won't be known", "run", c.ID, "err", err)
		} else {
			first = inside
			if err := s.countFiles(g.Group, inside); err != nil {
				s.log.Error("files in memory of a run in an image won't count", "run", c.ID, "err", err)
			}
		}
	}
	p := newProcess(c, g.Group, first, started, s.log)
	p.outcome.Started, p.outcome.Spawn, p.adopted = started, 0, true
	switch why, err := g.NotedEnd(); {
	case !s.trustsNotes:
	case err != nil:
		s.log.Warn("whether an earlier daemon was ending the run can't be read", "run", c.ID, "err", err)
	case why != "":
		p.End(outcome.Cause(why)) // before its leader is seen to be gone
	}
	s.supervise(p)
	return p, nil
}

// oldestWait is how long a start may take that was under way when its daemon was killed.
const oldestWait = 2 * time.Second

// findLeader takes the handle before the group is asked, so that it can't be of
// a later process with the same number.
func (s *Spawner) findLeader(g *cgroup.Group, pid int) (_ leader, err error) {
	if pid <= 0 && s.trustsNotes {
		if pid, err = g.Leader(); err != nil {
			return nil, err
		}
	}
	if pid <= 0 {
		if pid, err = awaitOldest(g); err != nil {
			return nil, err
		}
	}
	if pid == 0 {
		return unknownLeader{}, nil
	}
	f, err := openPidfd(pid)
	// EINVAL, of older kernels: the number still names the session that a
	// dead leader has left.
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return unknownLeader{}, nil
	}
	if err != nil {
		return nil, err
	}
	pids, err := g.Procs()
	inside := err == nil && slices.Contains(pids, pid)
	switch {
	// Started before this process executed another program in its own place. A zombie isn't listed in
	// its group any more, but still says where it was (cgroups(7)).
	case isChild(f) && (inside || wasIn(pid, g.ID())):
		return adoptChild(pid, f)
	case inside:
		return &orphan{number: pid, pidfd: f}, nil
	}
	return unknownLeader{}, errors.Join(err, f.Close())
}

// awaitOldest finds the first process of a group whose daemon was killed before it
// could note it, where it could not note itself either; 0 is that it has gone. It
// leads a session, and while it lives nothing in the group is older. Where only a later session of its making is left
// that can't be told apart, and is waited for.
func awaitOldest(g *cgroup.Group) (int, error) {
	for end := time.Now().Add(oldestWait); ; time.Sleep(10 * time.Millisecond) {
		pids, err := g.Procs()
		if err != nil {
			return 0, err
		}
		oldest, err := oldestOf(pids)
		if err != nil || oldest.Session == oldest.PID {
			return oldest.PID, err
		}
		if time.Now().After(end) {
			return 0, nil // it had one, which is gone
		}
	}
}

// oldestOf skips what has ended meanwhile; zero is none.
func oldestOf(pids []int) (oldest procinfo.Stat, err error) {
	for _, pid := range pids {
		p, err := procinfo.Host.Stat(pid)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return procinfo.Stat{}, err
		}
		if oldest.PID == 0 || p.Began < oldest.Began || p.Began == oldest.Began && p.PID < oldest.PID {
			oldest = p
		}
	}
	return oldest, nil
}

func adoptChild(pid int, pidfd *os.File) (leader, error) {
	proc, err := os.FindProcess(pid)
	if err = errors.Join(err, pidfd.Close()); err != nil {
		return nil, err
	}
	return child{proc}, nil
}

func wasIn(pid int, id string) bool {
	group, err := hostinfo.Host.Group(pid)
	return err == nil && strings.HasSuffix(group, "/"+id)
}

// EndUnclaimed ends the leftovers that were not claimed. Call it once.
func (s *Spawner) EndUnclaimed() {
	s.mu.Lock()
	left := s.kept
	s.kept = map[string]keptGroup{}
	s.mu.Unlock()
	for id, g := range left {
		s.log.Warn("leftover run that nobody claims is ended", "run", id)
		first, err := s.findLeader(g.Group, g.leader)
		if err != nil {
			s.log.Warn("its first process is not waited for", "run", id, "err", err)
			first = unknownLeader{}
		}
		p := newProcess(Command{ID: id}, g.Group, first, time.Now(), s.log)
		s.supervise(p)
		p.Finish(false)
	}
	if s.reaps {
		s.children.reapOrphans(s.log)
	}
}
