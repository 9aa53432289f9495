package answer

import (
	"bytes"
	"io"

	"penstock/backend"
	"penstock/run"
	"penstock/server/openai"
	"penstock/server/web"
)

// answerWriter writes an answer as one object, piece by piece, from a run that has
// ended: one reading for the text and one each for thinking and tools where
// there were any.
type answerWriter struct {
	w       io.Writer
	summary *answerSummary
	record  run.Record
	again   func(each func(backend.Event) error) error // all events, from the first
}

func (o *answerWriter) write() error {
	head, tail, err := o.frame()
	if err != nil {
		return err
	}
	if _, err := o.w.Write(head); err != nil {
		return err
	}
	if err := o.text(`"content":`, o.content); err != nil {
		return err
	}
	if o.summary.reasoned {
		if err := o.text(`,"reasoning_content":`, o.reasoning); err != nil {
			return err
		}
	}
	if o.summary.tools {
		if err := o.tools(); err != nil {
			return err
		}
	}
	_, err = o.w.Write(append(tail, '\n'))
	return err
}

// frame is the object around the message's words.
func (o *answerWriter) frame() (head, tail []byte, err error) {
	c := completionOf("chat.completion", o.record)
	reason := openai.FinishReason(o.record.Finish)
	c.Choices = []openai.Choice{{Message: &openai.AnswerMessage{Role: openai.RoleAssistant}, Finish: &reason}}
	c.Usage, c.Cost = openai.UsageOf(o.summary.usage)
	c.Receipt, c.Metadata = o.record.Receipt, o.record.Metadata
	text, err := web.Marshal(c)
	// A string that holds these words has its quotes escaped, and metadata,
	// the caller's own JSON, comes later.
	head, tail, _ = bytes.Cut(text, []byte(`"content":""`))
	return head, tail, err
}

// text writes one member whose value is a string.
func (o *answerWriter) text(member string, words func(*openai.JSONText) error) error {
	if _, err := io.WriteString(o.w, member+`"`); err != nil {
		return err
	}
	t := openai.NewJSONText(o.w)
	if err := words(t); err != nil {
		return err
	}
	if err := t.End(); err != nil {
		return err
	}
	_, err := io.WriteString(o.w, `"`)
	return err
}

func (o *answerWriter) content(t *openai.JSONText) error {
	pass := spanFilter{spans: o.summary.kept.spans}
	return o.again(func(e backend.Event) error {
		if e.Kind != backend.Text {
			return nil
		}
		return pass.text(e.Text, t.Add)
	})
}

func (o *answerWriter) reasoning(t *openai.JSONText) error {
	return o.again(func(e backend.Event) error {
		if e.Kind != backend.Reasoning {
			return nil
		}
		return t.Add(e.Text)
	})
}

func (o *answerWriter) tools() error {
	before := `,"x_tool":[`
	err := o.again(func(e backend.Event) error {
		if e.Kind != backend.ToolUse || e.Tool == nil {
			return nil
		}
		text, err := web.Marshal(e.Tool)
		if err != nil {
			return err
		}
		_, err = o.w.Write(append([]byte(before), text...))
		before = ","
		return err
	})
	if err != nil {
		return err
	}
	_, err = io.WriteString(o.w, "]")
	return err
}
