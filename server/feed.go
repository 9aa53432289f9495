package server

import (
	"context"
	"errors"
	"io"

	"penstock/backend"
	"penstock/run"
)

// feed hands a run's events over one at a time, so that a stream can wait for
// the next event, its ping and its client at once. It holds one event: a slow
// client makes the reader wait, and nothing pile up.
type feed struct {
	events chan backend.Event // closed at the end
	err    error              // valid when events is closed; nil after the last event
	stop   context.CancelFunc
}

// follow starts a feed from the run's first event. Close must be called.
func follow(ctx context.Context, r *run.Run) *feed {
	ctx, stop := context.WithCancel(ctx)
	f := &feed{events: make(chan backend.Event), stop: stop}
	reader := r.Follow(0)
	go f.pump(ctx, reader)
	return f
}

func (f *feed) pump(ctx context.Context, reader *run.Reader) {
	defer close(f.events)
	defer reader.Close()
	for {
		e, err := reader.Next(ctx)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				f.err = err
			}
			return
		}
		select {
		case f.events <- e:
		case <-ctx.Done():
			f.err = ctx.Err()
			return
		}
	}
}

// Close ends the feed and waits until its reader is closed.
func (f *feed) Close() {
	f.stop()
	for range f.events {
	}
}
