package server

import (
	"context"
	"log/slog"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"penstock/run"
	"penstock/server/openai"
	"penstock/server/web"
	"penstock/spawn"
)

// job is one chat request on its way to its run. Any number of requests may
// wait on it and then read the run.
type job struct {
	id, client, model, backend string
	durable                    bool // named by the caller: leaving only detaches
	fingerprint                openai.Fingerprint
	created                    time.Time
	limits                     *specs.LinuxResources // what its run will have
	enforced                   spawn.Enforced        // and what holds them
	session                    string
	lease                      *web.BodyLease // what its request holds of the daemon's memory until it has begun
	cancel                     context.CancelCauseFunc

	mu              sync.Mutex
	position        int           // in the client's queue, from 1; 0 not queued
	positionChanged chan struct{} // closed when place changes

	started chan struct{} // closed when waited, and run or err, are set
	waited  time.Duration // from arrival to its slot, or to its refusal
	run     *run.Run
	err     error
	gone    chan struct{} // closed when its run is over, or was not started
}

func newJob(id, client string, durable bool) *job {
	return &job{
		id: id, client: client, durable: durable, created: time.Now(),
		positionChanged: make(chan struct{}), started: make(chan struct{}), gone: make(chan struct{}),
	}
}

// queuePosition is the place in the queue and what to wait on for a change.
func (j *job) queuePosition() (int, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.position, j.positionChanged
}

func (j *job) setPosition(place int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if place != j.position {
		j.position = place
		close(j.positionChanged)
		j.positionChanged = make(chan struct{})
	}
}

func (j *job) begin(r *run.Run, err error) {
	j.run, j.err = r, err
	close(j.started)
}

func (j *job) begun() bool { return isClosed(j.started) }
func (j *job) over() bool  { return isClosed(j.gone) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// logAttrs returns the access-log attributes of the job's run; own tells that the
// request has launched it. An answer's text, a prompt, or what a CLI wrote is never
// among them.
func (j *job) logAttrs(own bool) []slog.Attr {
	attrs := []slog.Attr{slog.String(web.LogBackend, j.backend), slog.String(web.LogModel, j.model)}
	if !j.begun() {
		return attrs
	}
	if own {
		attrs = append(attrs, slog.Float64(web.LogQueueSeconds, web.Seconds(j.waited)))
	}
	if j.err != nil {
		return attrs
	}
	return append(attrs, runAttrs(j.run.Record())...)
}

// runAttrs is how a run went, once it has ended.
func runAttrs(r run.Record) []slog.Attr {
	var attrs []slog.Attr
	if lived, ok := r.Lifetime(); ok {
		attrs = append(attrs, slog.Float64(web.LogRunSeconds, web.Seconds(lived)))
	}
	if r.Exit != nil {
		attrs = append(attrs, slog.Int(web.LogExitCode, *r.Exit))
	}
	if r.Signal != "" {
		attrs = append(attrs, slog.String(web.LogSignal, r.Signal))
	}
	if r.Receipt != nil {
		attrs = append(attrs, slog.Any(web.LogReceipt, *r.Receipt))
	}
	return attrs
}

// untilQuiet is what to wait for before the job's run can be left alone; nil is
// nothing.
func (j *job) untilQuiet() <-chan struct{} {
	switch {
	case j.over():
		return nil
	case !j.begun():
		return j.started
	case j.durable && j.err == nil && j.run.Record().State != run.Ending:
		return nil
	}
	return j.gone
}
