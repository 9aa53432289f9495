package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"penstock/admit"
	"penstock/config"
	"penstock/image"
	"penstock/metrics"
	"penstock/run"
	"penstock/server/conversation"
	"penstock/server/health"
	"penstock/server/listener"
	"penstock/server/media"
	"penstock/server/web"
	"penstock/spawn"
)

// daemon is everything one Run needs; nothing of it is global, so that another
// program can embed it.
type daemon struct {
	config   config.Config
	version  string
	log      *slog.Logger
	logState func() health.LogState
	begun    time.Time
	front    *web.Front
	backends backends
	gate     *admit.Gate
	spawner  *spawn.Spawner
	runs     *run.Manager
	metrics  *metrics.Metrics
	jobs     *jobs
	// keys and conversations find the answers that are kept.
	keys          *conversation.Keys
	conversations *conversation.Store
	intake        *web.Intake
	replies       *web.Intake    // as intake, of what is read again of stored answers
	fetcher       *media.Fetcher // nil where nothing is fetched for requests
	// notDurable is why durable runs are refused; nil where they are not.
	notDurable error
	probes     *health.Probes
	proc       *health.ProcSampler
	limits     *limitFollower
	images     *image.Manager
	// noImages is why nothing can run in an image on this host, and noLoopback why nothing can
	// without a network; nil where it can, or where no backend asks for it.
	noImages, noLoopback error
	process1             *os.File // nil where no backend has an image

	connections listener.Connections
	accepting   sync.WaitGroup // one per listener
	draining    atomic.Bool
	base        context.Context // durable jobs live in it
	endBase     context.CancelCauseFunc
	reading     context.Context // readers of durable runs are attached while it lasts
	// endReading has errHandedOver.
	endReading context.CancelCauseFunc
	waiting    context.Context // jobs may wait for a turn and a slot while it lasts
	endWaiting context.CancelFunc
	// background are the sampler, the probe and the reader of new tokens.
	background     sync.WaitGroup
	stopBackground context.CancelFunc
}

// close takes the floors down again, top first.
func (d *daemon) close(ctx context.Context) error {
	d.stopBackground()
	d.background.Wait()
	d.endBase(errDaemonEnds)
	d.endReading(nil)
	d.endWaiting()
	var errs []error
	if err := d.images.Close(); err != nil {
		errs = append(errs, fmt.Errorf("close images: %w", err))
	}
	if err := d.runs.Close(ctx); err != nil {
		errs = append(errs, fmt.Errorf("close runs: %w", err))
	}
	if err := d.spawner.Close(ctx); err != nil {
		errs = append(errs, fmt.Errorf("close groups: %w", err))
	}
	d.closeProcess1()
	return errors.Join(errs...)
}

func (d *daemon) closeProcess1() {
	if d.process1 != nil {
		_ = d.process1.Close() // read only
	}
}
