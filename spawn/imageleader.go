package spawn

import (
	"fmt"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"penstock/cgroup"
	"penstock/outcome"
	"penstock/sandbox/pid1"
)

// imageLeader is bubblewrap, which waits for process 1 of a run in an image. What is asked
// of the first process is asked of that; how the CLI has ended it has written down.
type imageLeader struct {
	leader
	status string   // the file's path
	first  *os.File // pidfd of process 1
	begun  pid1.Status
	ended  pid1.Status
}

// inImageOf wraps the leader of a run in an image.
func inImageOf(l leader, g *cgroup.Group, status string) (*imageLeader, error) {
	st, err := readStatus(status)
	if err != nil {
		return nil, err
	}
	i := &imageLeader{leader: l, status: status, begun: st}
	if st.PID <= 0 || st.Ended {
		return i, nil
	}
	f, err := openPidfd(st.PID)
	if err != nil {
		return i, nil // it has ended meanwhile
	}
	// The number may be another's by now, but none that isn't in the group.
	pids, err := g.Procs()
	if err != nil {
		f.Close()
		return nil, err
	}
	if !slices.Contains(pids, st.PID) {
		f.Close()
		return i, nil
	}
	i.first = f
	return i, nil
}

// signal sends SIGTERM to process 1, which passes it on: bubblewrap would end alone.
func (i *imageLeader) signal(sig syscall.Signal) error {
	if sig != syscall.SIGTERM {
		return i.leader.signal(sig)
	}
	if i.first == nil {
		return os.ErrProcessDone
	}
	return control(i.first, func(fd int) error { return unix.PidfdSendSignal(fd, sig, nil, 0) })
}

// reap prefers what process 1 knows: to bubblewrap a CLI that was killed has exited with 137.
func (i *imageLeader) reap() (outcome.Exit, error) {
	e, err := i.leader.reap()
	if i.first != nil {
		i.first.Close()
		i.first = nil
	}
	var statusErr error
	if i.ended, statusErr = readStatus(i.status); statusErr != nil {
		return e, fmt.Errorf("how the CLI ended: %w", statusErr)
	}
	switch {
	case i.ended.Ended:
		return outcome.Exit{Code: i.ended.Code, Signal: i.ended.Signal, Known: true}, nil
	case e.Signal == 0 && e.Code > exitSignal && e.Known:
		// Process 1 was ended itself, and the CLI with it.
		return outcome.Exit{Code: -1, Signal: syscall.Signal(e.Code - exitSignal), Known: true}, err
	case e.Known && e.Signal == 0:
		// Process 1 left no word: its own status is not the CLI's.
		return outcome.Exit{Code: -1}, err
	}
	return e, err
}

// exitSignal is what bubblewrap adds to the number of a signal.
const exitSignal = 128

// childOf is the leader as this process's child, if it is that.
func childOf(l leader) (child, bool) {
	if i, ok := l.(*imageLeader); ok {
		l = i.leader
	}
	c, ok := l.(child)
	return c, ok
}

// survivorsOf are processes that outlived a CLI in an image: the kernel has ended them
// with process 1, so they aren't found in the group.
func survivorsOf(l leader) int {
	if i, ok := l.(*imageLeader); ok {
		return i.ended.Survivors
	}
	return 0
}
