package answer

import (
	"context"
	"errors"
	"io"

	"penstock/backend"
	"penstock/run"
	"penstock/server/dialect"
)

// nothing are the steps of an answer that has none.
func nothing(func(dialect.Step) error) error { return nil }

// endOf is how a run went, to a client that was told its events up to the last one.
func endOf(r run.Record, last uint64, usage *backend.Usage) dialect.End {
	e := dialect.End{Seq: last, Finish: r.Finish, Usage: usage, Receipt: r.Receipt, Metadata: r.Metadata}
	if r.Session != "" {
		e.Session = &dialect.Session{ID: r.Session, Resumed: r.Resumed && !r.SessionRestarted}
	}
	return e
}

// again gives all steps up to an event once more, as they were given before but for how texts
// were put together.
func again(ctx context.Context, r *run.Run, last uint64) dialect.Steps {
	return func(each func(dialect.Step) error) error {
		events := r.Follow(0)
		defer events.Close()
		var sent sentText
		for {
			e, err := events.Next(ctx)
			if errors.Is(err, io.EOF) || err == nil && e.Seq > last {
				return nil
			}
			if err != nil {
				return err
			}
			if e.Kind == backend.Void {
				sent.void(e.Keep)
				continue
			}
			step, ok := stepOf(e, &sent)
			if !ok {
				return nil // the stream ended there, too
			}
			if step.Kind == 0 {
				continue
			}
			if err := each(step); err != nil {
				return err
			}
		}
	}
}

// stepOf is what an event says to a client that has been given sent; of Kind 0 it is nothing.
// ok is as of Stream.event.
func stepOf(e backend.Event, sent *sentText) (step dialect.Step, ok bool) {
	step = dialect.Step{Place: dialect.Place{Seq: e.Seq, Last: true}}
	switch e.Kind {
	case backend.Text:
		more, ok := sent.text(e.Text)
		if !ok {
			return step, false
		}
		step.Kind, step.Text = e.Kind, more
	case backend.Reasoning:
		step.Kind, step.Text = e.Kind, e.Text
	case backend.ToolUse:
		if e.Tool != nil {
			step.Kind, step.Tool = e.Kind, lineTool(e.Tool)
		}
	} // session, done, failed: the run's verdict tells
	if step.Text == "" && step.Tool == nil {
		step.Kind = 0
	}
	return step, true
}
