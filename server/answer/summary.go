package answer

import (
	"penstock/backend"
	"penstock/server/dialect"
)

// answerSummary is what a whole answer has to know before its first byte. The words
// themselves stay in the spool, where they are read again to be written, unless they are
// few: an answer as large as the output cap must not be held in memory.
type answerSummary struct {
	kept     keptSpans
	contents dialect.Contents
	usage    *backend.Usage
	last     uint64 // number of the last event

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

// each gives all events once more, where they are held.
func (o *answerSummary) each(f func(backend.Event) error) error {
	for _, e := range o.events {
		if err := f(e); err != nil {
			return err
		}
	}
	return nil
}

// steps gives what of the events is the answer; again gives all events, from the first.
func (o *answerSummary) steps(again func(each func(backend.Event) error) error) dialect.Steps {
	return func(each func(dialect.Step) error) error {
		pass := spanFilter{spans: o.kept.spans}
		return again(func(e backend.Event) error {
			step := dialect.Step{Place: dialect.Place{Seq: e.Seq, Last: true}, Kind: e.Kind}
			switch {
			case e.Kind == backend.Text:
				return pass.text(e.Text, func(piece string) error {
					step.Text = piece
					return each(step)
				})
			case e.Kind == backend.Reasoning && e.Text != "":
				step.Text = e.Text
			case e.Kind == backend.ToolUse && e.Tool != nil:
				step.Tool = e.Tool
			default:
				return nil
			}
			return each(step)
		})
	}
}

func (o *answerSummary) add(e backend.Event) {
	o.hold(e)
	o.last = e.Seq
	switch e.Kind {
	case backend.Text:
		o.kept.text(len(e.Text))
	case backend.Void:
		o.kept.void(e.Keep)
	case backend.Reasoning:
		o.contents.Reasoned = o.contents.Reasoned || e.Text != ""
	case backend.ToolUse:
		o.contents.Tools = o.contents.Tools || e.Tool != nil
	case backend.UsageReport:
		o.usage = e.Usage
	}
}

// spansMax bounds what is remembered of one run's takings back, 1 MiB. A CLI
// takes back a message now and then, not each of a hundred thousand.
const spansMax = 1 << 16

// span is a range of all the text a CLI said, in bytes.
type span struct{ from, to int64 }

// keptSpans tells which of all the text that a CLI said is its answer, after what
// it took back.
type keptSpans struct {
	total int64
	valid int64  // bytes of the answer, the sum of spans
	spans []span // in order, none empty, no two that touch
	over  bool   // more than spansMax were needed: the answer is not known
}

func (k *keptSpans) text(n int) {
	from := k.total
	k.total += int64(n)
	k.valid += int64(n)
	last := len(k.spans) - 1
	switch {
	case n == 0 || k.over:
	case last >= 0 && k.spans[last].to == from:
		k.spans[last].to = k.total
	case last+1 == spansMax:
		k.over, k.spans = true, nil
	default:
		k.spans = append(k.spans, span{from, k.total})
	}
}

// void keeps the first keep bytes of the answer.
func (k *keptSpans) void(keep int) {
	for last := len(k.spans) - 1; last >= 0; last-- {
		s := &k.spans[last]
		excess := k.valid - int64(max(keep, 0))
		if excess <= 0 {
			return
		}
		length := s.to - s.from
		if excess < length {
			s.to -= excess
			k.valid -= excess
			return
		}
		k.spans = k.spans[:last]
		k.valid -= length
	}
}

// spanFilter lets the kept spans of a text pass that comes again from its start.
type spanFilter struct {
	spans []span
	at    int64
}

func (s *spanFilter) text(piece string, pass func(string) error) error {
	begin, end := s.at, s.at+int64(len(piece))
	s.at = end
	for len(s.spans) > 0 && s.spans[0].from < end {
		next := s.spans[0]
		from, to := max(next.from, begin), min(next.to, end)
		if from < to {
			if err := pass(piece[from-begin : to-begin]); err != nil {
				return err
			}
		}
		if next.to > end {
			break
		}
		s.spans = s.spans[1:]
	}
	return nil
}
