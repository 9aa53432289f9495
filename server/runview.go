package server

import (
	"math"
	"time"

	"penstock/run"
	"penstock/server/web"
)

// shownRun is a run as the runs routes show it: its record, and how it is now.
type shownRun struct {
	run.Record
	Usage *liveUsage     `json:"usage,omitempty"` // while its processes live
	Queue *queuePosition `json:"queue,omitempty"` // while it is queued
}

// liveUsage is what the last look at a live run's group saw, at most a second
// or so ago; absent is unknown. The caps are in the record's limits.
type liveUsage struct {
	Sampled  time.Time `json:"sampled_at"`
	Stalled  bool      `json:"stalled"`
	Memory   *uint64   `json:"memory_bytes,omitempty"`
	Pids     *uint64   `json:"pids,omitempty"`
	CPUCores *float64  `json:"cpu_cores,omitempty"` // over the last second
	CPUUsec  *uint64   `json:"cpu_usec,omitempty"`  // in all
	IOBytes  *uint64   `json:"io_bytes,omitempty"`  // in all
	// MemoryHighEvents and MemoryMaxEvents are as in the receipt.
	MemoryHighEvents *uint64 `json:"memory_high_events,omitempty"`
	MemoryMaxEvents  *uint64 `json:"memory_max_events,omitempty"`
}

// queuePosition is where a request stands that has no run yet.
type queuePosition struct {
	For      string  `json:"for"`                // "slot", or "session": its earlier turn
	Position int     `json:"position,omitempty"` // in its client's line for a slot, from 1
	Waited   float64 `json:"waited_seconds"`
}

// live is the last look at each live run, from memory.
func (d *daemon) live() map[string]run.Live {
	out := map[string]run.Live{}
	for _, one := range d.runs.Snapshot().Runs {
		out[one.ID] = one
	}
	return out
}

func show(r run.Record, live map[string]run.Live) shownRun {
	one, ok := live[r.ID]
	if !ok || one.Sampled.IsZero() || r.State == run.Finished {
		return shownRun{Record: r}
	}
	u := &liveUsage{
		Sampled: one.Sampled, Stalled: one.Stalled, Memory: one.Memory, Pids: one.Pids, CPUUsec: one.CPUUsec, IOBytes: one.IOBytes,
		MemoryHighEvents: one.MemoryHighEvents, MemoryMaxEvents: one.MemoryMaxEvents,
	}
	if one.CPUCores != nil {
		cores := math.Round(*one.CPUCores*1000) / 1000
		u.CPUCores = &cores
	}
	return shownRun{Record: r, Usage: u}
}

// shown is what can be told of a job that has no run yet.
func (j *job) shown() shownRun {
	place, _ := j.queuePosition()
	q := &queuePosition{For: "slot", Position: place, Waited: web.Seconds(time.Since(j.created))}
	if place == 0 && j.session != "" {
		q.For = "session"
	}
	return shownRun{Queue: q, Record: run.Record{
		ID: j.id, Object: "run", State: stateQueued, Client: j.client, Backend: j.backend, Model: j.model, Session: j.session,
		Created: j.created, Limits: j.limits, EnforcedBy: j.enforced,
	}}
}

const (
	stateQueued  run.State = "queued" // no run yet: waits for its session, or its slot
	stateLive    run.State = "live"   // in a filter: all but finished
	listLimit              = 100
	listLimitMax           = 1000
)
