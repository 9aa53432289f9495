package spawn

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"penstock/cgroup"
	"penstock/internal/procinfo"
	"penstock/sandbox/pid1"
)

// ownTasks is what bubblewrap and process 1 may need beside the run's own tasks.
const ownTasks = 16

// withOwnTasks are the limits of a group whose run is in an image, so that the run has as
// many tasks as without one.
func withOwnTasks(l *specs.LinuxResources) *specs.LinuxResources {
	if l == nil || l.Pids == nil || l.Pids.Limit == nil || *l.Pids.Limit <= 0 {
		return l
	}
	more, most := *l, *l.Pids.Limit+ownTasks
	more.Pids = &specs.LinuxPids{Limit: &most}
	return &more
}

// imageGroup doesn't count bubblewrap and process 1 as the run's tasks.
type imageGroup struct {
	group
	own uint64 // tasks of both
}

// groupInImage asks how many these are.
func groupInImage(g group, st pid1.Status) *imageGroup {
	i := &imageGroup{group: g, own: 2}
	if s, err := procinfo.Host.Status(st.PID); err == nil {
		i.own = 1 + s.Threads
	}
	return i
}

func (i *imageGroup) Usage() (cgroup.Usage, error) {
	u, err := i.group.Usage()
	u.Pids = less(u.Pids, i.own)
	return u, err
}

func (i *imageGroup) Receipt() (cgroup.Receipt, error) {
	r, err := i.group.Receipt()
	r.PidsPeak, r.PidsMax = less(r.PidsPeak, i.own), less(r.PidsMax, ownTasks)
	return r, err
}

func (i *imageGroup) PidsMax() (int64, bool) {
	n, ok := i.group.PidsMax()
	return n - ownTasks, ok
}

// less takes away what is not the run's; nil is unknown.
func less(n *uint64, own uint64) *uint64 {
	if n == nil {
		return nil
	}
	return new(*n - min(*n, own))
}
