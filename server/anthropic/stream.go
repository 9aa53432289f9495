package anthropic

import (
	"strconv"

	"penstock/backend"
	"penstock/server/dialect"
	"penstock/server/web"
)

// Messages is the dialect of Anthropic's Messages API.
type Messages struct{}

// Stream numbers its frames for readers that come again: message_start is 0, the last frame of
// each event has that event's number, and message_stop the one after.
func (Messages) Stream(out *web.SSE, a *dialect.Answer, _ dialect.Steps) dialect.Stream {
	return &stream{out: out, answer: a, tools: toolBlocks{run: a.Run, server: a.Backend}}
}

type stream struct {
	out     *web.SSE
	answer  *dialect.Answer
	tools   toolBlocks
	index   int          // of the next block
	open    backend.Kind // of the block that is open; 0 is none
	frame   web.TextFrame
	started bool
}

// event is the data of a stream's event: the fields of all types.
type event struct {
	Type    string   `json:"type"`
	Message *message `json:"message,omitempty"`
	Index   *int     `json:"index,omitempty"`
	Block   *block   `json:"content_block,omitempty"`
	Delta   *delta   `json:"delta,omitempty"`
	Usage   *usage   `json:"usage,omitempty"`
	Error   any      `json:"error,omitempty"`
	extras
}

type delta struct {
	StopReason *string `json:"stop_reason"`
	StopText   *string `json:"stop_sequence"`
}

// Open begins the message: a client that sees nothing of it for long gives up.
func (s *stream) Open(bool) error {
	s.started = true
	if s.answer.After >= 0 {
		return nil
	}
	m := newMessage(s.answer)
	m.Usage, m.UsageNote = usageOf(nil)
	return s.write(0, event{Type: "message_start", Message: &m})
}

func (s *stream) Begin() error { return nil }

func (s *stream) write(id int64, e event) error { return s.out.Event(e.Type, id, e) }

func (s *stream) Seen(p dialect.Place) bool { return int64(p.Seq) <= s.answer.After }

func (s *stream) Step(step dialect.Step) error {
	muted := s.Seen(step.Place)
	if step.Kind == backend.ToolUse {
		return s.tool(step, muted)
	}
	if s.open != step.Kind {
		if err := s.begin(step.Kind, muted); err != nil {
			return err
		}
	}
	if muted {
		return nil
	}
	id := int64(step.Seq)
	if !step.Last {
		id = web.NoID
	}
	_, err := s.out.Text(id, &s.frame, step.Text, web.NoID)
	return err
}

// begin opens a block of text or thinking.
func (s *stream) begin(kind backend.Kind, muted bool) error {
	if err := s.stop(muted); err != nil {
		return err
	}
	index, empty := s.index, ""
	s.index++
	s.open = kind
	first := block{Type: "text", Text: &empty}
	name := `text_delta","text":`
	if kind == backend.Reasoning {
		first = block{Type: "thinking", Thinking: &empty, Signature: &empty}
		name = `thinking_delta","thinking":`
	}
	s.frame = web.TextFrame{
		Head: "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":" + strconv.Itoa(index) + `,"delta":{"type":"` + name,
		Tail: "}}\n",
	}
	if muted {
		return nil
	}
	return s.write(web.NoID, event{Type: "content_block_start", Index: &index, Block: &first})
}

// stop closes the block that is open.
func (s *stream) stop(muted bool) error {
	if s.open == 0 {
		return nil
	}
	s.open = 0
	if muted {
		return nil
	}
	index := s.index - 1
	return s.write(web.NoID, event{Type: "content_block_stop", Index: &index})
}

// tool writes the agent's own use of a tool, whole from its start: a client that is sent
// deltas of its input takes it for a call of its own.
func (s *stream) tool(step dialect.Step, muted bool) error {
	if err := s.stop(muted); err != nil {
		return err
	}
	blocks := s.tools.of(step.Tool, s.index)
	for i, b := range blocks {
		index := s.index
		s.index++
		if muted {
			continue
		}
		if err := s.write(web.NoID, event{Type: "content_block_start", Index: &index, Block: &b}); err != nil {
			return err
		}
		id := int64(web.NoID)
		if i == len(blocks)-1 {
			id = int64(step.Seq)
		}
		if err := s.write(id, event{Type: "content_block_stop", Index: &index}); err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) Ping() error { return s.write(web.NoID, event{Type: "ping"}) }

func (s *stream) End(e dialect.End) error {
	if s.answer.After > int64(e.Seq) {
		return nil
	}
	if err := s.stop(false); err != nil {
		return err
	}
	reason := stopReason(e.Finish)
	if s.answer.Insistent && reason == refusal {
		return s.Fail(refused(s.answer, e), e)
	}
	u, note := usageOf(e.Usage)
	last := event{Type: "message_delta", Delta: &delta{StopReason: &reason}, Usage: &u, extras: extrasOf(e, note)}
	if err := s.write(web.NoID, last); err != nil {
		return err
	}
	return s.write(int64(e.Seq+1), event{Type: "message_stop"})
}

// Fail writes an error that clients don't ask again for by themselves: the run has acted. Claude
// Code asks again without a stream, whatever the error, unless it has seen a block whole: where
// there was none it gets an empty one.
func (s *stream) Fail(why *web.Error, _ dialect.End) error {
	if why.Retry != nil && !*why.Retry {
		if err := s.endWhole(); err != nil {
			return err
		}
	}
	return s.write(web.NoID, event{Type: "error", Error: why.AnthropicEvent("").Error})
}

// refused is a refusal to a client that would ask again at Anthropic's own word.
func refused(a *dialect.Answer, e dialect.End) *web.Error {
	return web.RunError(web.ContentFilter, "the model's provider refused to answer: ask otherwise", a.Run, e.Receipt)
}

// endWhole sees to it that one block at least is whole, and none open.
func (s *stream) endWhole() error {
	if s.index == 0 {
		if err := s.begin(backend.Text, false); err != nil {
			return err
		}
	}
	return s.stop(false)
}
