package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"penstock/outcome"
	"penstock/run"
	"penstock/server/listener"
	"penstock/server/web"
)

const (
	// softEnd is how much of their grace runs may take at the end of the daemon.
	softEnd = 10 * time.Second
	// endBound is for ending all runs and removing their groups, after the drain.
	endBound = 20 * time.Second
	// lastRepliesBound is for the replies to reach their clients after that.
	lastRepliesBound = 3 * time.Second
)

// shutdown takes no new work, refuses what waits, lets what runs finish for the
// drain timeout, ends the rest softly and then not, and closes. Force cuts each
// of these waits short. Health and streams are served until the end.
func (d *daemon) shutdown(force context.Context, srv *http.Server, listeners []net.Listener, cause error) error {
	d.drain(fmt.Sprint(cause))
	idle := make(chan struct{})
	go func() {
		d.jobs.live.Wait()
		close(idle)
	}()
	drain := time.NewTimer(d.config.DrainTimeout.Duration)
	defer drain.Stop()
	select {
	case <-idle:
	case <-drain.C:
	case <-force.Done():
	}

	ctx, cancel := context.WithTimeout(context.Background(), endBound)
	defer cancel()
	var errs []error
	begun, running := time.Now(), d.gate.Stats().Running
	soft, cut := context.WithTimeout(force, softEnd)
	defer cut()
	if err := d.runs.End(ctx, soft, outcome.ShuttingDown); err != nil {
		errs = append(errs, fmt.Errorf("end runs: %w", err))
	}
	d.endBase(errDaemonEnds)
	select {
	case <-idle:
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("end runs: %d still held after %v", d.gate.Stats().Running, endBound))
	}
	d.log.Info("runs ended", "running", running, "still_held", d.gate.Stats().Running, "seconds", web.Seconds(time.Since(begun)))
	errs = append(errs, d.finishReplies(srv, listeners))
	closing, cancelClose := context.WithTimeout(context.Background(), endBound)
	defer cancelClose()
	errs = append(errs, d.close(closing))
	return errors.Join(errs...)
}

// drain takes no more work; what waits for a slot is refused.
func (d *daemon) drain(cause string) {
	d.log.Info("draining", "timeout", d.config.DrainTimeout.String(), "running", d.gate.Stats().Running, "cause", cause)
	d.draining.Store(true)
	d.jobs.close()
	d.gate.Drain()
}

// finishReplies accepts no connection any more, answers those accepted, lets every
// reply come to its end, then closes all connections.
func (d *daemon) finishReplies(srv *http.Server, listeners []net.Listener) error {
	ctx, cancel := context.WithTimeout(context.Background(), lastRepliesBound)
	defer cancel()
	listener.CloseAll(listeners)
	d.accepting.Wait()
	srv.SetKeepAlivesEnabled(false)
	d.connections.AwaitIdle(ctx)
	err := srv.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		d.log.Warn("clients did not take their last bytes in time", "bound", lastRepliesBound)
		err = srv.Close()
	}
	if err != nil {
		return fmt.Errorf("close listeners: %w", err)
	}
	return nil
}

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
