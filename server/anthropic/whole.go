package anthropic

import (
	"bytes"
	"io"

	"penstock/backend"
	"penstock/server/dialect"
	"penstock/server/web"
)

// Whole is an answer as one message.
func (Messages) Whole(a *dialect.Answer) dialect.Whole { return whole{a} }

type whole struct{ answer *dialect.Answer }

// Write goes through the answer once.
func (o whole) Write(w io.Writer, e dialect.End, _ dialect.Contents, again dialect.Steps) error {
	head, tail, err := o.frame(e)
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	c := content{w: w, tools: toolBlocks{run: o.answer.Run, server: o.answer.Backend}}
	if err := again.Each(c.step); err != nil {
		return err
	}
	if err := c.stop(); err != nil {
		return err
	}
	_, err = w.Write(append(tail, '\n'))
	return err
}

// frame is the object around the message's content.
func (o whole) frame(e dialect.End) (head, tail []byte, err error) {
	m := newMessage(o.answer)
	reason := stopReason(e.Finish)
	u, note := usageOf(e.Usage)
	m.StopReason, m.Usage, m.extras = &reason, u, extrasOf(e, note)
	text, err := web.Marshal(m)
	// A string that holds these words has its quotes escaped, and metadata,
	// the caller's own JSON, comes later.
	head, tail, _ = bytes.Cut(text, []byte(`"content":[]`))
	return append(head, `"content":[`...), append([]byte("]"), tail...), err
}

// content writes the blocks of a message as they come.
type content struct {
	w     io.Writer
	tools toolBlocks
	index int          // of the next block
	open  backend.Kind // of the block that is open; 0 is none
	text  *dialect.JSONText
}

func (c *content) step(s dialect.Step) error {
	if s.Kind == backend.ToolUse {
		if err := c.stop(); err != nil {
			return err
		}
		for _, b := range c.tools.of(s.Tool, c.index) {
			text, err := web.Marshal(b)
			if err != nil {
				return err
			}
			if err := c.next(string(text)); err != nil {
				return err
			}
		}
		return nil
	}
	if c.open != s.Kind {
		if err := c.begin(s.Kind); err != nil {
			return err
		}
	}
	return c.text.Add(s.Text)
}

// next writes the beginning of another block.
func (c *content) next(text string) error {
	if c.index > 0 {
		text = "," + text
	}
	c.index++
	_, err := io.WriteString(c.w, text)
	return err
}

func (c *content) begin(kind backend.Kind) error {
	if err := c.stop(); err != nil {
		return err
	}
	c.open, c.text = kind, dialect.NewJSONText(c.w)
	if kind == backend.Reasoning {
		return c.next(`{"type":"thinking","signature":"","thinking":"`)
	}
	return c.next(`{"type":"text","text":"`)
}

func (c *content) stop() error {
	if c.open == 0 {
		return nil
	}
	c.open = 0
	if err := c.text.End(); err != nil {
		return err
	}
	_, err := io.WriteString(c.w, `"}`)
	return err
}

// Fail is an error's object in the place of a message's.
func (o whole) Fail(why *web.Error) any {
	return event{Type: "error", Error: why.AnthropicEvent("").Error}
}
