package server

import (
	"cmp"
	"context"
	"time"

	"penstock/admit"
	"penstock/server/health"
	"penstock/spawn"
)

const monitorEvery = time.Second

// keptDefault is how long a finished run's output stays where keep.age says nothing.
const keptDefault = time.Hour

// monitor tells how the daemon is, and holds starts back while memory is short.
func (d *daemon) monitor(ctx context.Context, beat func(health.Beat)) {
	tick := time.NewTicker(monitorEvery)
	defer tick.Stop()
	var judge admit.PauseRule
	held := ""
	heartbeat := health.NewHeartbeat(d.config.Limits.Stall.Duration)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		d.limits.follow(d.hostMemory())
		f := d.facts()
		why := judge.Reason(f.Pressure())
		d.gate.Pause(why)
		if n, known := f.FilesLeft(); known {
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
			beat(heartbeat.Beat(f))
		}
	}
}

// hostMemory is the machine's, in bytes; 0 is unknown.
func (d *daemon) hostMemory() int64 {
	if total := d.proc.Sample().Total; total != nil {
		return int64(*total)
	}
	return 0
}
