package answer

import (
	"context"
	"errors"
	"io"

	"penstock/backend"
	"penstock/server/dialect"
	"penstock/spool"
)

// answerSummary is what a whole answer has to know before its first byte. The words
// themselves stay in the spool, where they are read again to be written, unless they are
// few: an answer as large as the output cap must not be held in memory.
type answerSummary struct {
	kept     keptSpans
	contents dialect.Contents
	usage    *backend.Usage
	last     uint64 // number of the last event

	takenBack bool // some text was, at some time
	restated  bool // and said again as it was

	events []backend.Event // all, while few
	bytes  int             // of their words
	many   bool
}

// fewEvents and fewBytes bound the answers whose events are held.
const fewEvents, fewBytes = 64, 8 << 10

func (o *answerSummary) hold(e backend.Event) {
	if o.many {
		return
	}
	o.bytes += len(e.Text)
	o.events = append(o.events, e)
	if e.Tool != nil || o.bytes > fewBytes || len(o.events) > fewEvents {
		o.many, o.events = true, nil
	}
}

// heldEvents are events that are read from memory.
type heldEvents []backend.Event

func (h *heldEvents) Next(context.Context) (backend.Event, error) {
	if len(*h) == 0 {
		return backend.Event{}, io.EOF
	}
	e := (*h)[0]
	*h = (*h)[1:]
	return e, nil
}

// again gives the events once more.
func (o *answerSummary) again(read *spool.Reader) eventSource {
	if !o.many {
		held := heldEvents(o.events)
		return &held
	}
	return read.Again()
}

// steps gives what of the events is the answer, from the places where a stream says it, if
// that can be. What the events can't be read for is put into unread.
func (o *answerSummary) steps(ctx context.Context, again func() eventSource, unread *error) dialect.Steps {
	return func() dialect.Reading {
		from := answerEvents{again(), unread}
		if o.restated {
			return &sentReading{ctx: ctx, events: from, last: &o.last}
		}
		return &keptReading{ctx: ctx, events: from, pass: spanFilter{spans: o.kept.spans}}
	}
}

// answerEvents are those up to the CLI's last word.
type answerEvents struct {
	eventSource
	unread *error
}

func (a answerEvents) Next(ctx context.Context) (backend.Event, error) {
	e, err := a.eventSource.Next(ctx)
	if err != nil && !errors.Is(err, io.EOF) {
		*a.unread = err
	}
	if err == nil && e.Kind == backend.Done {
		return e, io.EOF
	}
	return e, err
}

// judge finds out, of an answer of which some was taken back, whether all that was said again is
// the same: then a stream has told it, too, and both have the same items.
func (o *answerSummary) judge(ctx context.Context, events eventSource) error {
	var sent sentText
	for {
		e, err := events.Next(ctx)
		if errors.Is(err, io.EOF) {
			o.restated = sent.consistent()
			return nil
		}
		if err != nil {
			return err
		}
		switch e.Kind {
		case backend.Void:
			sent.void(e.Keep)
		case backend.Text:
			if _, ok := sent.text(e.Text); !ok {
				return nil
			}
		}
	}
}

func (o *answerSummary) add(e backend.Event) {
	o.hold(e)
	o.last = e.Seq
	switch e.Kind {
	case backend.Text:
		o.kept.text(len(e.Text))
	case backend.Void:
		o.takenBack = true
		o.kept.void(e.Keep)
	case backend.Reasoning:
		o.contents.Reasoned = o.contents.Reasoned || e.Text != ""
	case backend.ToolUse:
		o.contents.Tools = o.contents.Tools || e.Tool != nil
	case backend.UsageReport:
		o.usage = e.Usage
	}
}
