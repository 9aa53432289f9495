package openai

import (
	"penstock/backend"
	"penstock/server/dialect"
	"penstock/server/web"
)

// Chat is the dialect of chat completions.
type Chat struct{}

// Stream numbers its frames: 0 is the role, then each event's number, then the finish
// chunk's and the usage's.
func (Chat) Stream(out *web.SSE, a *dialect.Answer, _ dialect.Steps) dialect.Stream {
	return &chatStream{out: out, answer: a}
}

type chatStream struct {
	out     *web.SSE
	answer  *dialect.Answer
	base    *Completion // what all chunks have in common; from Begin on
	content web.TextFrame
	thought web.TextFrame // reasoning
}

// Open says nothing: a chat stream's first word is its role, when there is a run.
func (s *chatStream) Open(bool) error { return nil }

func (s *chatStream) Begin() error {
	base := newCompletion("chat.completion.chunk", s.answer)
	s.base = &base // by pointer: on the stack of each stream it would be held for as long as that rests
	if s.answer.After >= 0 {
		return nil
	}
	empty := ""
	return s.chunk(0, Delta{Role: dialect.Assistant, Content: &empty})
}

func (s *chatStream) Seen(p dialect.Place) bool { return int64(p.Seq) <= s.answer.After }

// Step writes a chunk. One that ends with the end of an event has that event's number, any
// other has none: what a stream that resumes after a number brings is exactly what follows
// the chunk that had it.
func (s *chatStream) Step(step dialect.Step) error {
	if s.Seen(step.Place) {
		return nil
	}
	id := int64(step.Seq)
	if !step.Last {
		id = web.NoID
	}
	switch step.Kind {
	case backend.Text:
		return s.text(id, &s.content, Delta{Content: &frameText}, step.Text)
	case backend.Reasoning:
		return s.text(id, &s.thought, Delta{Reasoning: frameText}, step.Text)
	}
	return s.chunk(id, Delta{Tool: step.Tool})
}

// frameText is what a text frame is made around; no model has such a name.
var frameText = "\x00"

func (s *chatStream) text(id int64, frame *web.TextFrame, d Delta, text string) error {
	if frame.Head == "" {
		c := *s.base
		c.Choices = []Choice{{Delta: &d}}
		if err := frame.Around(c, frameText); err != nil {
			return err
		}
	}
	_, err := s.out.Text(id, frame, text, web.NoID)
	return err
}

func (s *chatStream) chunk(id int64, d Delta) error {
	c := *s.base
	c.Choices = []Choice{{Delta: &d}}
	return s.out.Data(id, c)
}

// Ping is a comment: a named event would be a bogus chunk to stock clients.
func (s *chatStream) Ping() error { return s.out.Comment("ping") }

// End writes exactly one finish chunk, the usage where it is asked for, and [DONE].
func (s *chatStream) End(e dialect.End) error {
	reason := finishReason(e.Finish)
	last := *s.base
	last.Choices = []Choice{{Delta: &Delta{}, Finish: &reason}}
	last.Metadata = e.Metadata
	ended, accounted := int64(e.Seq+1), int64(e.Seq+2)
	if s.answer.After != ended && s.answer.After != accounted { // a number past the end is no reason to keep the end back
		if err := s.out.Data(ended, last); err != nil {
			return err
		}
	}
	if s.answer.IncludeUsage && s.answer.After != accounted {
		usage := *s.base
		usage.Usage, usage.Cost = usageOf(e.Usage)
		usage.Receipt = e.Receipt
		if err := s.out.Data(accounted, usage); err != nil {
			return err
		}
	}
	return s.done()
}

// Fail writes one error frame, which has no number, for nothing follows it, and [DONE].
func (s *chatStream) Fail(why *web.Error, _ dialect.End) error {
	if err := s.out.Data(web.NoID, map[string]web.ErrorBody{"error": why.Body()}); err != nil {
		return err
	}
	return s.done()
}

// done ends the stream; nothing may follow: some clients append it to the text.
func (s *chatStream) done() error { return s.out.Raw("data: " + doneMark + "\n\n") }

const doneMark = "[DONE]"
