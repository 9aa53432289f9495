package structured

import (
	"fmt"
	"strings"

	"penstock/backend"
	"penstock/backend/parse"
	"penstock/backend/schema"
)

// machine goes around the machine of a CLI. It is as pure as that: what it does follows from
// the events that the lines make there.
type machine struct {
	inner     backend.Machine
	goal      goal
	plainExit bool // the end of the output is the end of the turn
	held      held
	again     bool // the CLI was asked a second time
	ended     bool
}

func (m *machine) Open() [][]byte { return m.inner.Open() }

func (m *machine) Line(line []byte) ([]backend.Event, [][]byte) {
	events, write := m.inner.Line(line)
	var out []backend.Event
	for _, e := range events {
		if e.Kind == backend.Done && !m.ended {
			judged, more := m.judge(e, true)
			out, write = append(out, judged...), append(write, more...)
			continue
		}
		out = append(out, m.pass(e)...)
	}
	return out, write
}

// Close judges what a program said that has no other end than its exit. The half answer of a
// CLI that has one and didn't get there is dropped: its run has failed, whatever it says.
func (m *machine) Close() []backend.Event {
	var out []backend.Event
	for _, e := range m.inner.Close() {
		if e.Kind == backend.Done && !m.ended {
			judged, _ := m.judge(e, false)
			out = append(out, judged...)
			continue
		}
		out = append(out, m.pass(e)...)
	}
	if !m.plainExit || m.ended {
		return out
	}
	m.ended = true
	found, err := m.answer()
	if err != nil {
		return append(out, m.failed(err))
	}
	return append(out, valid(found)...)
}

// pass gives on what may go out before the answer is known, and holds what may not.
func (m *machine) pass(e backend.Event) []backend.Event {
	switch e.Kind {
	case backend.Text:
		if !m.ended {
			m.held.add(e.Text)
		}
		return nil
	case backend.Void:
		m.held.void(e.Keep)
		return nil
	case backend.Done:
		return nil // after an end there is no other
	case backend.Failed:
		if m.ended {
			return nil
		}
		m.ended, m.held = true, held{}
	}
	return []backend.Event{e}
}

// judge is the end of a turn: the answer and its end, a failure, or what to tell the CLI so that
// it tries again. What the token limit cut, or a provider refused, is neither valid nor
// not: it goes out as it is, with the finish that tells so.
func (m *machine) judge(done backend.Event, mayAsk bool) (out []backend.Event, write [][]byte) {
	if done.Finish != "stop" {
		m.ended = true
		return append(m.asItCame(), done), nil
	}
	found, err := m.answer()
	if err == nil {
		m.ended, m.held = true, held{}
		return append(valid(found), done), nil
	}
	if inner, ok := m.inner.(backend.Reprompter); ok && mayAsk && !m.again {
		if write = inner.Reprompt(m.complaint(err)); len(write) > 0 {
			m.again = true
			m.held.next()
			return []backend.Event{notice("%s; the CLI is asked once more", m.verdict(err))}, write
		}
	}
	m.ended = true
	return []backend.Event{m.failed(err)}, nil
}

// answer is the JSON of the turn, where it is what was asked for.
func (m *machine) answer() (schema.Found, error) {
	if m.held.over() {
		return schema.Found{}, fmt.Errorf("has %d bytes, the most that are held to a schema are %d", m.held.size, schema.AnswerMax)
	}
	return m.goal.judge(string(m.held.text))
}

func (m *machine) verdict(err error) string {
	return fmt.Sprintf("the answer is not %s: %v", m.goal.name(), err)
}

// complaint is what the CLI is told of its first answer.
func (m *machine) complaint(err error) string {
	return parse.Bound(fmt.Sprintf("That answer can't be used, since it has to be %s. The problem: %v.\n\n"+
		"Answer once more, with the corrected JSON only. No words before or after it, no code fence.", m.goal.name(), err), parse.FailureMax)
}

func (m *machine) failed(err error) backend.Event {
	tries := "it can't be asked again"
	if m.again {
		tries = "it was asked twice"
	}
	m.held = held{}
	return backend.Event{Kind: backend.Failed, Failure: &backend.Failure{
		Code:    "invalid_output",
		Message: parse.Bound(fmt.Sprintf("%s (%s: ask anew, or with a plainer schema, or another model)", m.verdict(err), tries), parse.FailureMax),
	}}
}

// valid are the events of an answer that is what was asked for.
func valid(found schema.Found) []backend.Event {
	out := []backend.Event{{Kind: backend.Text, Text: found.JSON}}
	if !found.Bare {
		return append([]backend.Event{notice("the words around the answer's JSON are left out")}, out...)
	}
	return out
}

// asItCame are the events of an answer that wasn't finished.
func (m *machine) asItCame() (out []backend.Event) {
	if m.held.over() {
		out = append(out, notice("the answer has %d bytes: all after the first %d are left out", m.held.size, len(m.held.text)))
	}
	if len(m.held.text) > 0 {
		out = append(out, backend.Event{Kind: backend.Text, Text: strings.ToValidUTF8(string(m.held.text), "")})
	}
	return out
}

func notice(format string, args ...any) backend.Event {
	return backend.Event{Kind: backend.Notice, Text: parse.Bound(fmt.Sprintf(format, args...), parse.NoticeMax)}
}

// held is the text of one turn, until it is judged. The machine inside counts the bytes of all
// its answer, of which this is the part from start on.
type held struct {
	start int // bytes before it, of earlier turns
	size  int // bytes of it, of which text has at most schema.AnswerMax
	text  []byte
}

func (h *held) add(s string) {
	h.size += len(s)
	h.text = append(h.text, s[:min(len(s), max(0, schema.AnswerMax-len(h.text)))]...)
}

// void takes back all but the first keep bytes of the machine's answer.
func (h *held) void(keep int) {
	h.start = min(h.start, max(0, keep))
	h.size = min(h.size, max(0, keep-h.start))
	h.text = h.text[:min(len(h.text), h.size)]
}

// over tells that text isn't all.
func (h *held) over() bool { return h.size > len(h.text) }

// next begins another turn.
func (h *held) next() { *h = held{start: h.start + h.size} }
