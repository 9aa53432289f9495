package server

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"penstock/admit"
	"penstock/spawn"
)

const monitorEvery = time.Second

// keptDefault is how long a finished run's output stays where keep.age says nothing.
const keptDefault = time.Hour

// Beat is how the daemon is.
type Beat struct {
	Wedged  bool   // for so long that the service manager should act
	Summary string // one line for people
}

// monitor tells how the daemon is, and holds starts back while memory is short.
func (d *daemon) monitor(ctx context.Context, beat func(Beat)) {
	tick := time.NewTicker(monitorEvery)
	defer tick.Stop()
	var judge admit.PauseRule
	held := ""
	stuck := stuckSlots{patience: cmp.Or(d.config.Limits.Stall.Duration, stuckSlotsMax)}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		d.limits.follow(d.hostMemory())
		f := d.facts()
		why := judge.Reason(f.pressure())
		d.gate.Pause(why)
		if n, known := f.filesLeft(); known {
			where := ""
			if n > 0 {
				where = spawn.MemoryFiles()
			}
			d.gate.ReserveOutside(n, where)
		}
		d.connections.CloseStalled(cmp.Or(d.config.Keep.Age.Duration, keptDefault))
		if (why == "") != (held == "") {
			d.log.Warn("starts are held back", "on", why != "", "why", why)
		}
		held = why
		if beat != nil {
			beat(Beat{Wedged: f.dispatcherStuck() || stuck.tooLong(f.slotsStuck(), f.now), Summary: f.summary()})
		}
	}
}

// hostMemory is the machine's, in bytes; 0 is unknown.
func (d *daemon) hostMemory() int64 {
	if total := d.proc.sample().Total; total != nil {
		return int64(*total)
	}
	return 0
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

func (f facts) pressure() admit.Pressure {
	p := admit.Pressure{Full: f.live.Pressure.MemoryFullAvg10, Used: f.live.Pressure.MemoryBytes, Budget: f.queue.Budget}
	if a, t := f.proc.Available, f.proc.Total; a != nil && t != nil {
		available, total := int64(*a), int64(*t)
		p.Available, p.Total = &available, &total
	}
	return p
}

// filesLeft is what finished runs hold of the budget, in bytes: files in memory
// file systems that aren't any live run's. It is not known, and then as it was,
// before the first look at a newborn run, and after the last one's end.
func (f facts) filesLeft() (n int64, known bool) {
	s := f.live
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

func (f facts) summary() string {
	s := fmt.Sprintf("%s: %d running, %d waiting", f.status(), f.queue.Running, f.queue.Waiting)
	if f.live.Stalled > 0 {
		s += fmt.Sprintf(", %d stalled", f.live.Stalled)
	}
	if f.queue.Paused != "" {
		s += "; starts are held back: " + f.queue.Paused
	}
	return s
}
