package openai

import (
	"bytes"
	"io"

	"penstock/backend"
	"penstock/server/dialect"
	"penstock/server/web"
)

// Responses is the dialect of OpenAI's responses.
type Responses struct{}

// Whole is an answer as one response.
func (Responses) Whole(a *dialect.Answer) dialect.Whole { return responsesWhole{a} }

type responsesWhole struct{ answer *dialect.Answer }

// Write goes through the answer once, and ahead of that where a call's end is to be known.
func (o responsesWhole) Write(w io.Writer, e dialect.End, _ dialect.Contents, again dialect.Steps) error {
	head, tail, err := aroundOutput(finished(o.answer, e))
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	if err := writeOutput(w, o.answer, e, again); err != nil {
		return err
	}
	_, err = w.Write(append(tail, '\n'))
	return err
}

// Fail is a response that can't be mistaken for an answer.
func (o responsesWhole) Fail(why *web.Error) any {
	return ResponseState(o.answer, Failed, why, dialect.End{})
}

// finished is the response of a run that has completed.
func finished(a *dialect.Answer, e dialect.End) *Response {
	r := newResponse(a, Completed)
	r.ended(e)
	if reason := incompleteReason(e.Finish); reason != "" {
		if a.Insistent && reason == contentFilter {
			reason = refusal
		}
		r.Status, r.IncompleteDetails = Incomplete, &IncompleteDetails{Reason: reason}
	}
	return &r
}

// aroundOutput is the JSON of a value with a response before and behind its output items. A
// string before them has its quotes escaped, and the client's own JSON comes later.
func aroundOutput(v any) (head, tail []byte, err error) {
	whole, err := web.Marshal(v)
	if err != nil {
		return nil, nil, err
	}
	const output = `"output":[`
	at := bytes.Index(whole, []byte(output)) + len(output)
	return whole[:at:at], whole[at:], nil
}

// answerVisitor is told the items of an answer in their order, each whole before the next.
type answerVisitor interface {
	beginText(index int, kind backend.Kind) error
	addText(text string) error
	endText(last bool) error
	call(c *call) error
}

// visit tells the items of an answer.
func visit(again dialect.Steps, v answerVisitor) error {
	w := &walk{answerVisitor: v, calls: outcomes{again: again}}
	items := outputItems{to: w}
	if err := again.Each(items.step); err != nil {
		return err
	}
	return items.end()
}

// walk tells a visitor of a call, with what came of it, where it begins.
type walk struct {
	answerVisitor
	calls outcomes
}

func (w *walk) beginText(index int, s dialect.Step) error {
	return w.answerVisitor.beginText(index, s.Kind)
}

func (w *walk) addText(s dialect.Step) error { return w.answerVisitor.addText(s.Text) }

func (w *walk) beginCall(c *call) error {
	if hasEnded(&c.Tool) {
		return w.call(c)
	}
	ended, err := w.calls.of(c.index)
	if err != nil {
		return err
	}
	if ended == nil {
		ended = &call{Tool: c.Tool, index: c.index}
		ended.Status = toolIncomplete
	}
	return w.call(ended)
}

func (w *walk) inputCall(*call) error { return nil }
func (w *walk) endCall(*call) error   { return nil }

// writeOutput writes the output items of a run that has completed.
func writeOutput(w io.Writer, a *dialect.Answer, e dialect.End, again dialect.Steps) error {
	return visit(again, &outputWriter{w: w, answer: a, end: e, text: dialect.NewJSONText(w)})
}

type outputWriter struct {
	w      io.Writer
	answer *dialect.Answer
	end    dialect.End
	item   textItem // that is being written
	text   *dialect.JSONText
	begun  bool
}

// next writes what parts an item from the one before.
func (o *outputWriter) next() error {
	if !o.begun {
		o.begun = true
		return nil
	}
	_, err := io.WriteString(o.w, ",")
	return err
}

func (o *outputWriter) beginText(index int, kind backend.Kind) error {
	o.item = newTextItem(o.answer, kind, index)
	if err := o.next(); err != nil {
		return err
	}
	head, _, err := around(o.item.item(&frameText, ""))
	if err != nil {
		return err
	}
	_, err = o.w.Write(append(head, '"'))
	return err
}

func (o *outputWriter) addText(text string) error { return o.text.Add(text) }

func (o *outputWriter) endText(last bool) error {
	if err := o.text.End(); err != nil {
		return err
	}
	_, tail, err := around(o.item.item(&frameText, textStatus(o.end, last)))
	if err != nil {
		return err
	}
	_, err = o.w.Write(append([]byte{'"'}, tail...))
	return err
}

func (o *outputWriter) call(c *call) error {
	if err := o.next(); err != nil {
		return err
	}
	item, err := web.Marshal(newCallItem(o.answer, c).ended(c))
	if err != nil {
		return err
	}
	_, err = o.w.Write(item)
	return err
}

// textStatus is that of a text of a run that has completed; the last item may have been cut.
func textStatus(e dialect.End, last bool) string {
	if last && incompleteReason(e.Finish) != "" {
		return Incomplete
	}
	return Completed
}
