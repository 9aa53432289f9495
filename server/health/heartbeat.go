package health

import (
	"cmp"
	"fmt"
	"time"

	"penstock/admit"
)

// Beat is how the daemon is.
type Beat struct {
	Wedged  bool   // for so long that the service manager should act
	Summary string // one line for people
}

// stuckSlotsMax is how long all slots may be held by stalled runs while others wait,
// where stall_timeout sets no end to such runs.
const stuckSlotsMax = 5 * time.Minute

// stuckSlots watches for slots that stay held by stalled runs. Runs that wait for a
// slow model look like that, too, and end by themselves, or by stall_timeout:
// killing all of them is only right when that hasn't helped.
type stuckSlots struct {
	patience time.Duration
	since    time.Time // zero: none
}

func (j *stuckSlots) tooLong(now bool, at time.Time) bool {
	switch {
	case !now:
		j.since = time.Time{}
	case j.since.IsZero():
		j.since = at
	}
	return now && at.Sub(j.since) > j.patience
}

func (f Facts) Pressure() admit.Pressure {
	p := admit.Pressure{Full: f.Live.Pressure.MemoryFullAvg10, Used: f.Live.Pressure.MemoryBytes, Budget: f.Queue.Budget}
	if a, t := f.Proc.Available, f.Proc.Total; a != nil && t != nil {
		available, total := int64(*a), int64(*t)
		p.Available, p.Total = &available, &total
	}
	return p
}

// FilesLeft is what finished runs hold of the budget, in bytes: files in memory
// file systems that aren't any live run's. It is not known, and then as it was,
// before the first look at a new run, and after the last one's end.
func (f Facts) FilesLeft() (n int64, known bool) {
	s := f.Live
	if s.FilesInMemory == nil || s.Pressure.MemoryBytes == nil {
		return 0, false
	}
	others := int64(*s.Pressure.MemoryBytes)
	for _, r := range s.Runs {
		if r.Memory == nil {
			return 0, false
		}
		others -= int64(*r.Memory)
	}
	return max(0, min(others, int64(*s.FilesInMemory))), true
}

func (f Facts) summary() string {
	s := fmt.Sprintf("%s: %d running, %d waiting", f.status(), f.Queue.Running, f.Queue.Waiting)
	if f.Live.Stalled > 0 {
		s += fmt.Sprintf(", %d stalled", f.Live.Stalled)
	}
	if f.Queue.Paused != "" {
		s += "; starts are held back: " + f.Queue.Paused
	}
	return s
}

// heartbeat tells how the daemon is, over time.
type heartbeat struct{ stuck stuckSlots }

// NewHeartbeat takes the limit on stalled runs; 0 is none.
func NewHeartbeat(stall time.Duration) *heartbeat {
	return &heartbeat{stuckSlots{patience: cmp.Or(stall, stuckSlotsMax)}}
}

// Beat is for about once a second.
func (h *heartbeat) Beat(f Facts) Beat {
	return Beat{Wedged: f.dispatcherStuck() || h.stuck.tooLong(f.slotsStuck(), f.Now), Summary: f.summary()}
}
