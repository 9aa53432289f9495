package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"penstock/run"
	"penstock/server/listener"
)

// readerContext is for a reader of a durable run: it ends, with errHandedOver, when
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
	if err := d.images.Close(); err != nil {
		d.log.Warn("close images", "err", err)
	}
	d.endBase(errDaemonEnds)
	origin, err := d.spawner.Detach()
	if err != nil {
		d.log.Warn("not all is left in order", "err", err)
	}
	d.log.Info("handing over", "runs", runs, "uptime", time.Since(d.begun).Round(time.Second).String())
	d.closeProcess1()
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
	var err error
	if g.Images, err = storedImages(d.images.Store()); err != nil {
		d.log.Warn("a successor is not told of the images", "error", err)
	}
	for _, l := range listeners {
		g.Exposed = g.Exposed || listener.Exposed(l.Addr())
	}
	return g
}

// quiesce sees to it that no run is left but durable ones, none of them at its
// beginning or end: a job that waits is refused, one that runs may finish within the
// drain timeout and is ended then. It is false when ctx ends first.
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
