package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"penstock/config"
	"penstock/outcome"
	"penstock/run"
	"penstock/server/listener"
	"penstock/server/web"
	"penstock/spawn"
)

// Handover lets Run make way for a successor without ending durable runs.
type Handover struct {
	Asked <-chan struct{}
	// Check may refuse before anything is given up: Run then serves on.
	Check func(context.Context, HandoverState) error
}

// HandoverState is what a successor will stand on, whatever its configuration says.
type HandoverState struct {
	Enforced spawn.Enforced `json:"enforced"`
	Exposed  bool           `json:"exposed"` // other hosts reach it
	// Live are the backends of live durable runs, each with one of them.
	Live []LiveBackend `json:"live,omitempty"`
	// Try runs a program in a group of its own, as runs are, and gives what it
	// printed; exit status 0 is no error.
	Try func(ctx context.Context, argv, env []string) (string, error) `json:"-"`
}

// LiveBackend is a backend that a live durable run needs.
type LiveBackend struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	Run  string `json:"run"` // one of its runs
}

// Check says whether Run would take c on that ground, as far as can be told
// without touching anything.
func Check(c config.Config, g HandoverState) error {
	if g.Exposed && len(c.Tokens) == 0 {
		return errors.New("reachable from other hosts and no tokens are configured")
	}
	if _, err := newBackends(c); err != nil {
		return err
	}
	return errors.Join(checkEnforced(c, g.Enforced), keepsLive(c, g.Live))
}

// keepsLive refuses a configuration that has lost what live runs need: their
// output could not be understood.
func keepsLive(c config.Config, live []LiveBackend) error {
	var errs []error
	for _, l := range live {
		const hint = "(hint: keep it until its runs have ended, or cancel them)"
		if b, ok := c.Backends[l.Name]; !ok {
			errs = append(errs, fmt.Errorf("backends.%s: not configured any more, and run %s of it is live %s", l.Name, l.Run, hint))
		} else if b.Kind != l.Kind {
			errs = append(errs, fmt.Errorf("backends.%s.kind: %q was %q, and run %s of it is live %s", l.Name, b.Kind, l.Kind, l.Run, hint))
		}
	}
	return errors.Join(errs...)
}

// HandedOver is what Run returns, as an error, when it has handed over: listeners in
// their order, which nobody accepts from now, and the state directory's lock.
// Durable runs go on in their groups. The files are the caller's, for the
// successor or for another Run.
type HandedOver struct {
	Listeners []*os.File
	Lock      *os.File
	Origin    spawn.Origin
	Runs      int
}

func (l *HandedOver) Error() string { return fmt.Sprintf("handed over with %d runs", l.Runs) }

// errHandedOver ends the readers of durable runs.
var errHandedOver = errors.New("the daemon hands over")

// reattachError tells a reader to attach again: its run goes on.
func reattachError(id string) *web.Error {
	retry := true
	return &web.Error{
		Status: http.StatusServiceUnavailable, Kind: web.KindServer, Code: web.Code(outcome.ShuttingDown), RunID: id, Retry: &retry, RetryAfter: time.Second,
		Message: "the daemon is being replaced and the run goes on: attach again with the same X-Run-Id and Last-Event-ID",
	}
}

// readerContext is for who reads a durable run: it ends, with errHandedOver, when
// the daemon hands over. Call release.
func (d *daemon) readerContext(ctx context.Context) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	forget := context.AfterFunc(d.reading, func() { cancel(errHandedOver) })
	return ctx, func() {
		forget()
		cancel(nil)
	}
}

func isHandedOver(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errHandedOver) }

// handOver leaves durable runs to a successor, or is refused and changes
// nothing. It is nil, too, when ctx has ended before anything was left: then all
// is to be ended.
func (d *daemon) handOver(ctx context.Context, srv *http.Server, listeners []net.Listener, h *Handover) *HandedOver {
	d.log.Info("handover asked for")
	sockets, err := listener.Duplicates(listeners)
	if err == nil {
		err = h.Check(ctx, d.handoverState(listeners))
	}
	if err != nil {
		d.log.Error("handover refused: serving on", "err", err)
		listener.CloseFiles(sockets)
		return nil
	}
	d.drain("handing over")
	if !d.quiesce(ctx) {
		listener.CloseFiles(sockets)
		return nil
	}
	listener.KeepPaths(listeners, true)
	d.endReading(errHandedOver)
	if err := d.finishReplies(srv, listeners); err != nil {
		d.log.Warn("last replies", "err", err)
	}
	bounded, cancel := context.WithTimeout(context.Background(), endBound)
	defer cancel()
	lock, runs, err := d.runs.Detach(bounded)
	if err != nil {
		d.log.Warn("not all is left in order: the successor sweeps it", "err", err)
	}
	d.stopBackground()
	d.background.Wait()
	d.endBase(errDaemonEnds)
	origin, err := d.spawner.Detach()
	if err != nil {
		d.log.Warn("not all is left in order", "err", err)
	}
	d.log.Info("handing over", "runs", runs, "uptime", time.Since(d.begun).Round(time.Second).String())
	return &HandedOver{Listeners: sockets, Lock: lock, Origin: origin, Runs: runs}
}

func (d *daemon) handoverState(listeners []net.Listener) HandoverState {
	g := HandoverState{Enforced: d.spawner.Enforced(), Try: d.runs.Try}
	seen := map[string]bool{}
	for _, r := range d.runs.List(run.Filter{Unfinished: true}) {
		// One whose backend this daemon has lost is read as what it was, here and
		// by the next.
		if a, ok := d.backends[r.Backend]; ok && r.Durable && !seen[r.Backend] {
			seen[r.Backend] = true
			g.Live = append(g.Live, LiveBackend{Name: r.Backend, Kind: a.config.Kind, Run: r.ID})
		}
	}
	for _, l := range listeners {
		g.Exposed = g.Exposed || listener.Exposed(l.Addr())
	}
	return g
}

// quiesce sees to it that no run is left but durable ones, none of them at its
// beginning or end: who waits is refused, who runs may finish within the drain
// timeout and is ended then. It is false when ctx ends first.
func (d *daemon) quiesce(ctx context.Context) bool {
	all := d.jobs.all()
	d.endWaiting()
	drain, cancel := context.WithTimeout(ctx, d.config.DrainTimeout.Duration)
	defer cancel()
	if quiesced(drain, all) || ctx.Err() != nil {
		return ctx.Err() == nil
	}
	for _, j := range all {
		if !j.durable {
			j.cancel(errDaemonEnds)
		}
	}
	end, cancelEnd := context.WithTimeout(ctx, endBound)
	defer cancelEnd()
	defer time.AfterFunc(softEnd, d.runs.Kill).Stop()
	if !quiesced(end, all) {
		d.log.Warn("runs are not ended yet", "running", d.gate.Stats().Running, "bound", endBound)
	}
	return ctx.Err() == nil
}

func quiesced(ctx context.Context, all []*job) bool {
	for _, j := range all {
		for what := j.untilQuiet(); what != nil; what = j.untilQuiet() {
			select {
			case <-what:
			case <-ctx.Done():
				return false
			}
		}
	}
	return true
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
