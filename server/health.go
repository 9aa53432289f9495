package server

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"penstock/admit"
	"penstock/metrics"
	"penstock/run"
	"penstock/server/web"
	"penstock/spawn"
)

// heartbeatMax is how long the dispatcher may be silent before the daemon
// calls itself wedged.
const heartbeatMax = 15 * time.Second

// facts are one consistent look at everything /health tells, from memory.
type facts struct {
	now       time.Time
	draining  bool
	live      run.Snapshot
	queue     admit.Stats
	isolation spawn.Isolation
	log       LogState
	proc      procStats
	backends  []backendState
	room      *run.Room    // of the state directory; nil is unknown
	tasks     *spawn.Bound // what all runs together may have; nil is any number
}

func (d *daemon) facts() facts {
	return facts{
		now: time.Now(), draining: d.draining.Load(), live: d.runs.Snapshot(), queue: d.gate.Stats(),
		isolation: d.spawner.Isolation(), proc: d.proc.sample(), backends: d.probes.all(), log: d.logState(),
		tasks: d.limits.tasks.Load(), room: d.runs.Room(),
	}
}

// status is draining > wedged > busy > ok.
func (f facts) status() string {
	switch {
	case f.draining:
		return "draining"
	case f.wedged():
		return "wedged"
	case f.queue.Running > 0:
		return "busy"
	}
	return "ok"
}

// wedged: our own dispatcher stands still, or every slot is held by a run that
// stands still while others wait.
func (f facts) wedged() bool { return f.dispatcherStuck() || f.slotsStuck() }

func (f facts) dispatcherStuck() bool {
	return !f.live.Heartbeat.IsZero() && f.now.Sub(f.live.Heartbeat) > heartbeatMax
}

func (f facts) slotsStuck() bool {
	return f.queue.Waiting > 0 && f.queue.Running > 0 && f.live.Stalled >= f.queue.Running
}

// canMakeGroups tells whether groups can be made.
func (f facts) canMakeGroups() bool { return !strings.HasPrefix(f.isolation.SelfTest, "failed") }

// notReady says why a new request would not be taken; "" when it would.
func (f facts) notReady() string {
	switch {
	case f.draining:
		return "draining"
	case f.wedged():
		return "wedged"
	case !f.canMakeGroups():
		return "no groups can be made: self-test " + f.isolation.SelfTest
	case f.room != nil && f.room.Removed:
		return "the state directory was removed while the daemon runs: restart penstock"
	case f.room != nil && f.room.Low != "":
		return "no room for what runs write in the state directory: " + f.room.Low + " (keep.min_free)"
	case f.queue.Exhausted:
		return "no run would have memory: " + filesLeftText(f.queue)
	}
	return ""
}

// healthMetrics is what /readyz and /health say, for the metrics.
func (d *daemon) healthMetrics() metrics.Health {
	f := d.facts()
	return metrics.Health{Ready: f.notReady() == "", Wedged: f.wedged(), LogDropped: f.log.Dropped}
}

// degraded says in words what works less well than configured.
func (d *daemon) degraded(f facts) []string {
	out := []string{}
	for _, b := range f.backends {
		a := d.backends[b.Name]
		switch {
		case !a.config.Configured:
		case b.State == "missing":
			out = append(out, fmt.Sprintf("backend %s: not found: %s", b.Name, programName(a)))
		case b.State == "error":
			out = append(out, fmt.Sprintf("backend %s: does not tell its version", b.Name))
		}
	}
	if d.notDurable != nil {
		out = append(out, "isolation: durable runs are refused: runs could write to the daemon's records of them")
	}
	if n := f.isolation.LeakedGroups; n > 0 {
		out = append(out, fmt.Sprintf("isolation: %d leaked groups", n))
	}
	if n := len(f.isolation.Reachable); n > 0 {
		out = append(out, fmt.Sprintf("isolation: runs can reach %d of what isolation.hide names, and have somebody else start a process for them", n))
	}
	if n := len(f.isolation.Late); n > 0 {
		out = append(out, fmt.Sprintf("isolation: %d of isolation.hide lead to a file system that does not answer: what they name stays hidden as it was", n))
	}
	if n := f.isolation.TooMany; n > 0 {
		out = append(out, fmt.Sprintf("isolation: %d names fit isolation.hide and are too many to be looked at: runs can reach them", n))
	}
	if why := f.queue.Paused; why != "" {
		out = append(out, "admission: starts are held back: "+why)
	}
	if f.log.Losing {
		out = append(out, fmt.Sprintf("log: what it is written to takes no lines: %d were dropped", f.log.Dropped))
	}
	if f.room != nil && f.room.Low != "" {
		out = append(out, "state directory: "+f.room.Low)
	}
	out = append(out, taskShortage(f.tasks, d.config.Limits.PidsMax)...)
	if !f.canMakeGroups() {
		out = append(out, "isolation: self-test "+f.isolation.SelfTest)
	}
	return out
}

// programName has no directory: /health is open to all and tells no paths.
func programName(a *configuredBackend) string {
	if len(a.config.Command) == 0 {
		return a.config.Name
	}
	p := a.config.Command[0]
	return p[strings.LastIndexByte(p, '/')+1:]
}

func (d *daemon) health(w *web.Reply, r *http.Request) error {
	f := d.facts()
	status := http.StatusOK
	if f.notReady() != "" {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Cache-Control", "no-store")
	web.WriteJSON(w, status, d.report(f))
	return nil
}

func (d *daemon) livez(w *web.Reply, r *http.Request) error {
	web.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	return nil
}

func (d *daemon) readyz(w *web.Reply, r *http.Request) error {
	if why := d.facts().notReady(); why != "" {
		web.WriteJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready", "reason": why})
		return nil
	}
	web.WriteJSON(w, http.StatusOK, map[string]string{"status": "ready"})
	return nil
}
