package openai

import (
	"bytes"
	"io"
	"slices"
	"strconv"

	"penstock/outcome"
	"penstock/server/dialect"
	"penstock/server/web"
)

// The number of an event comes from its place in the run's events, of which each has room for
// perEvent: so a number is the same in each replay, whether texts were put together or not, and
// has gaps. What is told before a text comes first, then its pieces, and what fails after it last.
const (
	numberCreated    = 0
	numberQueued     = 1
	numberInProgress = 2

	perEvent   = 4096
	firstPiece = 16
	failure    = 4000
)

// Stream numbers its events as above: dialect.Answer.After is in these numbers.
func (Responses) Stream(out *web.SSE, a *dialect.Answer, again dialect.Steps) dialect.Stream {
	s := &responsesStream{out: out, answer: a}
	s.items.to, s.held.again = s, again
	return s
}

type responsesStream struct {
	out    *web.SSE
	answer *dialect.Answer
	items  outputItems
	held   heldAnswer
	number int64         // of the next event that is no text
	item   textItem      // that is open
	delta  web.TextFrame // of it
	more   []byte        // room for a text that isn't written
	end    dialect.End   // from End on
}

func (s *responsesStream) Open(queued bool) error {
	status := InProgress
	if queued {
		status = Queued
	}
	s.number = numberCreated
	if err := s.response(eventCreated, status); err != nil || !queued {
		return err
	}
	return s.response(eventQueued, status)
}

func (s *responsesStream) Begin() error {
	s.number = numberInProgress
	return s.response(eventInProgress, InProgress)
}

// response tells of a response of which nothing has been said yet.
func (s *responsesStream) response(kind, status string) error {
	r := newResponse(s.answer, status)
	return s.event(kind, responseEvent{Type: kind, Response: &r})
}

func numberOf(p dialect.Place) int64 { return int64(p.Seq)*perEvent + firstPiece + int64(p.Piece) }

func (s *responsesStream) Seen(p dialect.Place) bool { return numberOf(p) <= s.answer.After }

func (s *responsesStream) Step(step dialect.Step) error {
	s.number = int64(step.First) * perEvent
	return s.items.step(step)
}

// Ping is a comment: clients know the events that there are, and some take no other.
func (s *responsesStream) Ping() error { return s.out.Comment("ping") }

// End ends what is open, and tells all of the answer once more.
func (s *responsesStream) End(e dialect.End) error {
	s.number = int64(e.Seq+1) * perEvent
	s.end = e
	if err := s.items.end(); err != nil {
		return err
	}
	r := finished(s.answer, e)
	kind := eventCompleted
	if r.Status == Incomplete {
		kind = eventIncomplete
	}
	head, tail, err := aroundOutput(responseEvent{Type: kind, Response: r})
	if err != nil {
		return err
	}
	return s.piecewise(kind, head, tail, func(w io.Writer) error {
		if s.held.over {
			return writeOutput(w, s.answer, e, s.held.again)
		}
		return s.held.writeItems(w)
	})
}

// failedEvent raises an error in the clients for which response.failed is none. Some know
// its members, others the object in it.
type failedEvent struct {
	Type    string           `json:"type"`
	Code    web.Code         `json:"code"`
	Message string           `json:"message"`
	Param   *string          `json:"param"`
	Error   web.ErrorBody    `json:"error"`
	Cause   web.Code         `json:"x_cause"`
	Receipt *outcome.Receipt `json:"x_receipt,omitempty"`
}

// Fail ends the calls that are open. A text just ends: it is no answer. What may have failed for
// this reader alone has numbers before those of the next event, which it comes again for.
func (s *responsesStream) Fail(why *web.Error, e dialect.End) error {
	s.number = int64(e.Seq)*perEvent + failure
	if err := s.items.endCalls(); err != nil {
		return err
	}
	r := newResponse(s.answer, Failed)
	r.ended(e)
	r.failed(why)
	if err := s.event(eventFailed, responseEvent{Type: eventFailed, Response: &r}); err != nil {
		return err
	}
	body := why.Body()
	return s.event(eventError, failedEvent{
		Type: eventError, Code: body.Code, Message: body.Message, Param: body.Param, Error: body, Cause: why.Code, Receipt: why.Receipt,
	})
}

// beginText begins an item with one part.
func (s *responsesStream) beginText(index int, step dialect.Step) error {
	s.item = newTextItem(s.answer, step.Kind, index)
	s.held.begin(step)
	delta := s.item.textEvent(s.item.events().delta)
	delta.Delta = &frameText
	if err := s.delta.Named(delta.Type, delta, frameText); err != nil {
		return err
	}
	if err := s.itemAdded(index, s.item.item(nil, InProgress)); err != nil {
		return err
	}
	added := s.item.event(s.item.events().partAdded)
	added.Part = s.item.part("")
	return s.event(added.Type, added)
}

func (s *responsesStream) addText(step dialect.Step) (err error) {
	number := numberOf(step.Place)
	quoted := s.more[:0]
	if number > s.answer.After {
		s.more = nil
		quoted, err = s.out.Text(number, &s.delta, step.Text, number)
	} else {
		quoted, err = web.AppendText(quoted, step.Text)
		s.more = quoted
	}
	if err != nil {
		return err
	}
	s.held.add(quoted, step.Seq)
	return nil
}

func (s *responsesStream) endText(last bool) error {
	events, status := s.item.events(), textStatus(s.end, last)
	done := s.item.textEvent(events.done)
	done.Text = &frameText
	part := s.item.event(events.partDone)
	part.Part = s.item.part(frameText)
	item := itemEvent{Type: eventItemDone, OutputIndex: s.item.index, Item: s.item.item(&frameText, status)}
	for telling, e := range [textTellings]itemEvent{done, part, item} {
		head, tail, err := around(e)
		if err != nil {
			return err
		}
		if err := s.piecewise(e.Type, head, tail, func(w io.Writer) error { return s.held.writeText(w, telling) }); err != nil {
			return err
		}
	}
	if s.held.over {
		return nil
	}
	head, tail, err := around(s.item.item(&frameText, status))
	if err != nil {
		return err
	}
	s.held.put(s.item.index, slices.Concat(head, []byte{'"'}, s.held.text, []byte{'"'}, tail))
	return nil
}

func (s *responsesStream) itemAdded(index int, item any) error {
	return s.event(eventItemAdded, itemEvent{Type: eventItemAdded, OutputIndex: index, Item: item})
}

func (s *responsesStream) beginCall(c *call) error {
	if err := s.itemAdded(c.index, newCallItem(s.answer, c)); err != nil {
		return err
	}
	if err := s.callEvent(c, eventCall+InProgress); err != nil || c.Input == "" {
		return err
	}
	return s.inputCall(c)
}

func (s *responsesStream) callEvent(c *call, kind string) error {
	return s.event(kind, itemEvent{Type: kind, ItemID: newCallItem(s.answer, c).ID, OutputIndex: c.index})
}

func (s *responsesStream) inputCall(c *call) error {
	arguments := callArguments(c.Input)
	e := itemEvent{Type: eventCallInput, ItemID: newCallItem(s.answer, c).ID, OutputIndex: c.index, Delta: &arguments}
	if err := s.event(e.Type, e); err != nil {
		return err
	}
	e.Type, e.Delta, e.Arguments = eventCallInputed, nil, &arguments
	return s.event(e.Type, e)
}

func (s *responsesStream) endCall(c *call) error {
	if c.Input == "" { // which has not been told
		if err := s.inputCall(c); err != nil {
			return err
		}
	}
	if c.Status != toolIncomplete {
		if err := s.callEvent(c, eventCall+c.Status); err != nil {
			return err
		}
	}
	item := newCallItem(s.answer, c).ended(c)
	if err := s.event(eventItemDone, itemEvent{Type: eventItemDone, OutputIndex: c.index, Item: item}); err != nil {
		return err
	}
	text, err := web.Marshal(item)
	if err != nil {
		return err
	}
	s.held.put(c.index, text)
	return nil
}

func (s *responsesStream) event(kind string, v any) error {
	if s.number <= s.answer.After { // nothing is to be made of it
		s.number++
		return nil
	}
	text, err := web.Marshal(v)
	if err != nil {
		return err
	}
	return s.piecewise(kind, nil, text, nil)
}

// piecewise tells an event whose JSON is head, what middle writes, and tail, if the reader has
// not seen it.
func (s *responsesStream) piecewise(kind string, head, tail []byte, middle func(io.Writer) error) error {
	number := s.number
	s.number++
	if number <= s.answer.After {
		return nil
	}
	tail = bytes.TrimSuffix(tail, []byte("}"))
	tail = append(strconv.AppendInt(append(slices.Clip(tail), numberMember...), number, 10), "}\n"...)
	return s.out.Piecewise(kind, number, func(w io.Writer) error {
		if _, err := w.Write(head); err != nil {
			return err
		}
		if middle != nil {
			if err := middle(w); err != nil {
				return err
			}
		}
		_, err := w.Write(tail)
		return err
	})
}

const numberMember = `,"sequence_number":`
