package server

import (
	"context"
	"errors"
	"io"
	"sync"

	"penstock/backend"
	"penstock/run"
)

// feed hands a run's events over one at a time, so that a stream can wait for
// the next event, its ping and its client at once. It holds one event: a slow
// client makes the reader wait, and nothing pile up.
type feed struct {
	events chan backend.Event // closed at the end
	caught chan struct{}      // closed when all events so far were taken
	err    error              // valid when events is closed; nil after the last event
	stop   context.CancelFunc
	reader *run.Reader // the pump's own until events is closed
}

// follow starts a feed from the run's first event. Close must be called.
func follow(ctx context.Context, r *run.Run) *feed {
	ctx, stop := context.WithCancel(ctx)
	f := &feed{events: make(chan backend.Event), caught: make(chan struct{}), stop: stop, reader: r.Follow(0)}
	f.reader.OnWait = sync.OnceFunc(func() { close(f.caught) })
	go f.pump(ctx)
	return f
}

func (f *feed) pump(ctx context.Context) {
	defer close(f.events)
	for {
		e, err := f.reader.Next(ctx)
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

// again gives every event of the run once more, from the first one; only after
// events is closed. each's error ends it and is returned; the reader's own is
// in err too.
func (f *feed) again(ctx context.Context, each func(backend.Event) error) error {
	f.reader.Rewind()
	for {
		e, err := f.reader.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			f.err = err
			return err
		}
		if err := each(e); err != nil {
			return err
		}
	}
}

// Close ends the feed and closes its reader.
func (f *feed) Close() {
	f.stop()
	for range f.events {
	}
	f.reader.Close()
}
