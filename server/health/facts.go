package health

import (
	"cmp"
	"fmt"
	"path"
	"strings"
	"time"

	"penstock/admit"
	"penstock/internal/bytesize"
	"penstock/run"
	"penstock/spawn"
)

// heartbeatMax is how long the dispatcher may be silent before the daemon
// calls itself wedged.
const heartbeatMax = 15 * time.Second

// Facts are one consistent look at everything /health tells, from memory.
type Facts struct {
	Now      time.Time
	Begun    time.Time // the daemon
	Version  string
	Draining bool
	// RecordsExposed tells that durable runs are refused.
	RecordsExposed bool
	Live           run.Snapshot
	Queue          admit.Stats
	Isolation      spawn.Isolation
	Log            LogState
	Proc           ProcStats
	Backends       []BackendState
	Room           *run.Room    // of the state directory; nil is unknown
	Tasks          *spawn.Bound // what all runs together may have; nil is any number
	PidsMax        int64        // of a run, as configured
}

// status is draining > wedged > busy > ok.
func (f Facts) status() string {
	switch {
	case f.Draining:
		return "draining"
	case f.Wedged():
		return "wedged"
	case f.Queue.Running > 0:
		return "busy"
	}
	return "ok"
}

// Wedged: our own dispatcher stands still, or every slot is held by a run that
// stands still while others wait.
func (f Facts) Wedged() bool { return f.dispatcherStuck() || f.slotsStuck() }

func (f Facts) dispatcherStuck() bool {
	return !f.Live.Heartbeat.IsZero() && f.Now.Sub(f.Live.Heartbeat) > heartbeatMax
}

func (f Facts) slotsStuck() bool {
	return f.Queue.Waiting > 0 && f.Queue.Running > 0 && f.Live.Stalled >= f.Queue.Running
}

// canMakeGroups tells whether groups can be made.
func (f Facts) canMakeGroups() bool { return !strings.HasPrefix(f.Isolation.SelfTest, "failed") }

// NotReady says why a new request would not be taken; "" when it would.
func (f Facts) NotReady() string {
	switch {
	case f.Draining:
		return "draining"
	case f.Wedged():
		return "wedged"
	case !f.canMakeGroups():
		return "no groups can be made: self-test " + f.Isolation.SelfTest
	case f.Room != nil && f.Room.Removed:
		return "the state directory was removed while the daemon runs: restart penstock"
	case f.Room != nil && f.Room.Broken != "":
		return "the state directory takes no files: " + f.Room.Broken
	case f.Room != nil && f.Room.Low != "":
		return "no room for what runs write in the state directory: " + f.Room.Low + " (keep.min_free)"
	case f.Queue.Exhausted:
		return "no run would have memory: " + filesLeftText(f.Queue)
	}
	return ""
}

// Degraded says in words what works less well than configured.
func (f Facts) Degraded() []string {
	out := []string{}
	for _, b := range f.Backends {
		switch {
		case !b.configured:
		case b.State == "missing":
			out = append(out, fmt.Sprintf("backend %s: not found: %s", b.Name, b.program))
		case b.State == "error":
			out = append(out, fmt.Sprintf("backend %s: does not tell its version", b.Name))
		}
	}
	if f.RecordsExposed {
		out = append(out, "isolation: durable runs are refused: runs could write to the daemon's records of them")
	}
	if n := f.Isolation.LeakedGroups; n > 0 {
		out = append(out, fmt.Sprintf("isolation: %d leaked groups", n))
	}
	if n := len(f.Isolation.Reachable); n > 0 {
		out = append(out, fmt.Sprintf("isolation: runs can reach %d of what isolation.hide names, and have somebody else start a process for them", n))
	}
	if n := len(f.Isolation.Late); n > 0 {
		out = append(out, fmt.Sprintf("isolation: %d of isolation.hide lead to a file system that does not answer: what they name stays hidden as it was", n))
	}
	if n := f.Isolation.TooMany; n > 0 {
		out = append(out, fmt.Sprintf("isolation: %d names fit isolation.hide and are too many to be looked at: runs can reach them", n))
	}
	if why := f.Queue.Paused; why != "" {
		out = append(out, "admission: starts are held back: "+why)
	}
	if f.Log.Losing {
		out = append(out, fmt.Sprintf("log: what it is written to takes no lines: %d were dropped", f.Log.Dropped))
	}
	if f.Room != nil && f.Room.Broken != "" {
		out = append(out, "state directory: it takes no files: "+f.Room.Broken)
	}
	if f.Room != nil && f.Room.Low != "" {
		out = append(out, "state directory: "+f.Room.Low)
	}
	out = append(out, taskShortage(f.Tasks, f.PidsMax)...)
	if !f.canMakeGroups() {
		out = append(out, "isolation: self-test "+f.Isolation.SelfTest)
	}
	return out
}

// LogState is how the writing of log lines goes.
type LogState struct {
	Dropped uint64 // lines, in all
	Losing  bool   // lines are dropped now
}

// FewTasks tells whether one run at its pids_max could have all that there are.
func FewTasks(b *spawn.Bound, pidsMax int64) bool { return b != nil && b.N < pidsMax }

// taskShortage says in words what the limits above are too small for.
func taskShortage(b *spawn.Bound, pidsMax int64) []string {
	if !FewTasks(b, pidsMax) {
		return nil
	}
	return []string{fmt.Sprintf("limits: all runs together may have %d tasks, less than one run's pids_max of %d: %s leaves no more", b.N, pidsMax, path.Base(b.From))}
}

// heldByFiles tells of a good part of the budget that no run's end will free.
func heldByFiles(q admit.Stats) []string {
	if q.Budget <= 0 || q.Outside < q.Budget/10 {
		return nil
	}
	return []string{"memory: " + filesLeftText(q)}
}

func filesLeftText(q admit.Stats) string {
	return fmt.Sprintf("%s of the budget of %s are files that finished runs left in memory file systems (%s): delete them",
		bytesize.Human(q.Outside), bytesize.Human(q.Budget), cmp.Or(q.OutsideAt, "/dev/shm, a /tmp that is a tmpfs"))
}
