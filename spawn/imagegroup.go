package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"golang.org/x/sys/unix"

	"penstock/cgroup"
	"penstock/internal/hint"
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
	if r.PidsPeak != nil && *r.PidsPeak == 0 {
		r.PidsPeak = nil // it was last counted before there was a CLI
	}
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

// countsFiles tells whether what runs in images write to memory has to be counted: where
// the kernel holds memory it does it.
func (s *Spawner) countsFiles() bool { return s.root.Enforced().Memory == cgroup.Watch }

// errUncounted is told of a host where a run could have more memory than its limit.
var errUncounted = hint.Errorf("give it CAP_SYS_PTRACE, as systemd/root.conf does",
	"the kernel doesn't hold memory here, and what runs in images write to theirs can't be counted")

// countFiles has it counted.
func (s *Spawner) countFiles(g *cgroup.Group, l *imageLeader) error {
	if !s.countsFiles() || l.first == nil {
		return nil
	}
	dir, err := openPool(l.begun)
	if err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), reapMax)
		defer cancel()
		if awaitReadable(ctx, l.first) == nil {
			return nil // it has ended, and its files with it
		}
		return fmt.Errorf("count its files in memory: %w", err)
	}
	if !l.holdsNumber() {
		return dir.Close() // which may be another's
	}
	return g.CountFiles(dir)
}

// holdsNumber tells whether the number of process 1 is still its own.
func (i *imageLeader) holdsNumber() bool {
	return control(i.first, func(fd int) error { return unix.PidfdSendSignal(fd, 0, nil, 0) }) == nil
}

// openPool opens the tmpfs that a run may fill where process 1 has it: in that mount
// namespace no run can mount, and in the way there none can change a name. A daemon without
// rights may, for the user namespace is one of its own making.
func openPool(st pid1.Status) (*os.File, error) {
	if st.Pool == "" {
		return nil, errors.New("process 1 doesn't tell where they are")
	}
	const how = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	name := "/proc/" + strconv.Itoa(st.PID) + "/root"
	fd, err := unix.Open(name, how, 0)
	// A link with an absolute target would lead to the host's files.
	for part := range strings.SplitSeq(strings.Trim(st.Pool, "/"), "/") {
		if err != nil {
			break
		}
		var next int
		next, err = unix.Openat(fd, part, how|unix.O_NOFOLLOW, 0)
		_ = unix.Close(fd)
		fd = next
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name + st.Pool, Err: err}
	}
	return os.NewFile(uintptr(fd), name+st.Pool), nil
}
