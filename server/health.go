package server

import (
	"net/http"
	"time"

	"penstock/metrics"
	"penstock/server/health"
	"penstock/server/web"
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
