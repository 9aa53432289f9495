package openai

import (
	"bytes"
	"io"

	"penstock/backend"
	"penstock/server/dialect"
	"penstock/server/web"
)

// Whole is an answer as one chat completion.
func (Chat) Whole(a *dialect.Answer) dialect.Whole { return chatWhole{a} }

type chatWhole struct{ answer *dialect.Answer }

// Write goes through the answer once for the text, and once each for thinking and tools
// where there were any.
func (o chatWhole) Write(w io.Writer, e dialect.End, known dialect.Contents, again dialect.Steps) error {
	head, tail, err := o.frame(e)
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	if err := textMember(w, `"content":`, backend.Text, again); err != nil {
		return err
	}
	if known.Reasoned {
		if err := textMember(w, `,"reasoning_content":`, backend.Reasoning, again); err != nil {
			return err
		}
	}
	if known.Tools {
		if err := toolsMember(w, again); err != nil {
			return err
		}
	}
	_, err = w.Write(append(tail, '\n'))
	return err
}

// frame is the object around the message's words.
func (o chatWhole) frame(e dialect.End) (head, tail []byte, err error) {
	c := newCompletion("chat.completion", o.answer)
	reason := finishReason(e.Finish)
	c.Choices = []Choice{{Message: &AnswerMessage{Role: dialect.Assistant}, Finish: &reason}}
	c.Usage, c.Cost = usageOf(e.Usage)
	c.Receipt, c.Metadata = e.Receipt, e.Metadata
	text, err := web.Marshal(c)
	// A string that holds these words has its quotes escaped, and metadata,
	// the caller's own JSON, comes later.
	head, tail, _ = bytes.Cut(text, []byte(`"content":""`))
	return head, tail, err
}

// textMember writes one member whose value is the text of all steps of a kind.
func textMember(w io.Writer, member string, kind backend.Kind, again dialect.Steps) error {
	if _, err := io.WriteString(w, member+`"`); err != nil {
		return err
	}
	t := dialect.NewJSONText(w)
	err := again.Each(func(s dialect.Step) error {
		if s.Kind != kind {
			return nil
		}
		return t.Add(s.Text)
	})
	if err != nil {
		return err
	}
	if err := t.End(); err != nil {
		return err
	}
	_, err = io.WriteString(w, `"`)
	return err
}

func toolsMember(w io.Writer, again dialect.Steps) error {
	before := `,"x_tool":[`
	err := again.Each(func(s dialect.Step) error {
		if s.Kind != backend.ToolUse {
			return nil
		}
		text, err := web.Marshal(s.Tool)
		if err != nil {
			return err
		}
		_, err = w.Write(append([]byte(before), text...))
		before = ","
		return err
	})
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, "]")
	return err
}

// Fail is a completion that can't be mistaken for an answer.
func (o chatWhole) Fail(why *web.Error) any {
	c := newCompletion("chat.completion", o.answer)
	reason, body := "error", why.Body()
	c.Error = &body
	c.Choices = []Choice{{Message: &AnswerMessage{Role: dialect.Assistant}, Finish: &reason}}
	return c
}
