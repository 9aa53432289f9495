package server

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"penstock/admit"
	"penstock/metrics"
	"penstock/server/health"
	"penstock/server/web"
	"penstock/spawn"
)

func (d *daemon) facts() health.Facts {
	return health.Facts{
		Now: time.Now(), Begun: d.begun, Version: d.version, Draining: d.draining.Load(), RecordsExposed: d.notDurable != nil,
		Live: d.runs.Snapshot(), Queue: d.gate.Stats(), Isolation: d.spawner.Isolation(), Proc: d.proc.Sample(),
		Backends: d.probes.All(), Log: d.logState(), Tasks: d.limits.tasks.Load(), Room: d.runs.Room(), PidsMax: d.config.Limits.PidsMax,
	}
}

// healthMetrics is what /readyz and /health say, for the metrics.
func (d *daemon) healthMetrics() metrics.Health {
	f := d.facts()
	return metrics.Health{Ready: f.NotReady() == "", Wedged: f.Wedged(), LogDropped: f.Log.Dropped}
}

func (d *daemon) health(w *web.Reply, r *http.Request) error {
	f := d.facts()
	status := http.StatusOK
	if f.NotReady() != "" {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Cache-Control", "no-store")
	web.WriteJSON(w, status, f.Report())
	return nil
}

func (d *daemon) livez(w *web.Reply, r *http.Request) error {
	web.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	return nil
}

func (d *daemon) readyz(w *web.Reply, r *http.Request) error {
	if why := d.facts().NotReady(); why != "" {
		web.WriteJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready", "reason": why})
		return nil
	}
	web.WriteJSON(w, http.StatusOK, map[string]string{"status": "ready"})
	return nil
}

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
