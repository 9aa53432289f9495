package answer

import (
	"context"
	"errors"
	"io"
	"strings"

	"penstock/backend"
	"penstock/run"
	"penstock/server/dialect"
)

// endOf is how a run went, to a client that was told its events up to the last one.
func endOf(r run.Record, last uint64, usage *backend.Usage) dialect.End {
	e := dialect.End{Seq: last, Finish: r.Finish, Usage: usage, Receipt: r.Receipt, Metadata: r.Metadata}
	if r.Session != "" {
		e.Session = &dialect.Session{ID: r.Session, Resumed: r.Resumed && !r.SessionRestarted}
	}
	return e
}

// EndOf is how a run went, to a client that is told nothing of its events.
func EndOf(r run.Record) dialect.End { return endOf(r, 0, nil) }

// eventSource gives a run's events, from the first; io.EOF follows the last.
type eventSource interface {
	Next(ctx context.Context) (backend.Event, error)
}

// sentReading gives what a stream was given: a text that was taken back and said again stands
// where it was first said.
type sentReading struct {
	ctx    context.Context
	events eventSource
	again  func() eventSource // from the first on; may be nil where all of sent is kept
	last   *uint64            // number of the last event so far
	seq    uint64             // of the last one read
	sent   sentText
	ended  bool
}

func (g *sentReading) Next() (dialect.Step, bool, error) {
	for !g.ended && g.seq < *g.last {
		e, err := g.events.Next(g.ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return dialect.Step{}, false, err
		}
		g.seq = e.Seq
		if e.Kind == backend.Void {
			if err := g.takeBack(e); err != nil {
				return dialect.Step{}, false, err
			}
			continue
		}
		step, ok := stepOf(e, &g.sent)
		g.ended = !ok // as the stream, too
		if ok && step.Kind != 0 {
			return step, true, nil
		}
	}
	return dialect.Step{}, false, nil
}

func (g *sentReading) takeBack(e backend.Event) (err error) {
	if g.sent.discards {
		g.sent, err = sentBefore(g.ctx, g.again(), e.Seq)
	}
	g.sent.void(e.Keep)
	return err
}

// sentBefore reads the text before the event that is the first to take some back; from now
// on it is kept.
func sentBefore(ctx context.Context, events eventSource, first uint64) (sent sentText, err error) {
	for {
		e, err := events.Next(ctx)
		if err != nil {
			return sent, err
		}
		if e.Seq >= first {
			return sent, nil
		}
		if e.Kind == backend.Text {
			sent.text(e.Text)
		}
	}
}

// keptReading gives what is an answer's in the end, where it was said last.
type keptReading struct {
	ctx     context.Context
	events  eventSource
	pass    spanFilter
	pending []dialect.Step
}

func (g *keptReading) Next() (dialect.Step, bool, error) {
	for len(g.pending) == 0 {
		e, err := g.events.Next(g.ctx)
		if errors.Is(err, io.EOF) {
			return dialect.Step{}, false, nil
		}
		if err != nil {
			return dialect.Step{}, false, err
		}
		g.add(e)
	}
	step := g.pending[0]
	g.pending = g.pending[1:]
	return step, true, nil
}

func (g *keptReading) add(e backend.Event) {
	step := dialect.Step{Place: dialect.Place{Seq: e.Seq, Last: true}, First: e.Seq, Kind: e.Kind}
	switch {
	case e.Kind == backend.Text:
		g.pass.text(e.Text, func(piece string) {
			step.Text = piece
			g.pending = append(g.pending, step)
		})
	case e.Kind == backend.Reasoning && e.Text != "":
		step.Text = e.Text
		g.pending = append(g.pending, step)
	case e.Kind == backend.ToolUse && e.Tool != nil:
		step.Tool = e.Tool
		g.pending = append(g.pending, step)
	}
}

// stepOf is what an event says to a client that has been given sent; of Kind 0 it is nothing.
// ok is as of Stream.event.
func stepOf(e backend.Event, sent *sentText) (step dialect.Step, ok bool) {
	step = dialect.Step{Place: dialect.Place{Seq: e.Seq, Last: true}, First: e.Seq}
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

// Text is the answer of a run whose CLI has said its last word, be the run itself over or not, of
// one that failed as far as it came; ok is false where it has more than most bytes, or can't be read.
func Text(ctx context.Context, r *run.Run, most int) (text string, ok bool) {
	events := r.Follow(0)
	defer events.Close()
	var b strings.Builder
	for {
		e, err := events.Next(ctx)
		switch {
		case errors.Is(err, io.EOF), err == nil && (e.Kind == backend.Done || e.Kind == backend.Failed):
			return b.String(), true
		case err != nil, b.Len()+len(e.Text) > most:
			return "", false
		case e.Kind == backend.Text:
			b.WriteString(e.Text)
		case e.Kind == backend.Void:
			valid := b.String()[:min(max(e.Keep, 0), b.Len())]
			b = strings.Builder{}
			b.WriteString(valid)
		}
	}
}
