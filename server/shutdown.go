package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"penstock/outcome"
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
