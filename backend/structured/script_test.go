package structured

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"penstock/backend"
)

// scripted is a CLI whose lines are events, written as
// "text ...", "think ...", "tool NAME", "note ...", "session ID", "usage N", "void N", "done FINISH", "fail CODE".
type scripted struct {
	features backend.Features
	prompts  *[]string // of its second turns; nil is a CLI that can't be asked again
	command  *backend.Request
}

func (scripted) Name() string                 { return "script" }
func (scripted) Kind() string                 { return "jsonl" }
func (scripted) Framing() backend.Framing     { return backend.Lines }
func (s scripted) Features() backend.Features { return s.features }

func (s scripted) Command(r backend.Request) (backend.Command, error) {
	if s.command != nil {
		*s.command = r
	}
	return backend.Command{Prompt: []byte(r.Prompt)}, nil
}

func (s scripted) Machine(r backend.Request) backend.Machine {
	if s.prompts != nil {
		return &twice{once{prompt: r.Prompt, plain: s.features.PlainExit}, s.prompts}
	}
	return &once{prompt: r.Prompt, plain: s.features.PlainExit}
}

type once struct {
	prompt string
	plain  bool
	ended  bool
	sent   int
	tail   string // text that comes out at Close
}

type twice struct {
	once
	prompts *[]string
}

func (m *twice) Reprompt(text string) [][]byte {
	*m.prompts = append(*m.prompts, text)
	m.ended = false
	return [][]byte{[]byte("again")}
}

func (m *once) Open() [][]byte { return [][]byte{[]byte(m.prompt)} }

func (m *once) Line(line []byte) ([]backend.Event, [][]byte) {
	word, rest, _ := strings.Cut(string(line), " ")
	if m.ended && word != "session" && word != "usage" {
		return nil, nil
	}
	n := int64(0)
	fmt.Sscan(rest, &n)
	e := backend.Event{Text: rest}
	switch word {
	case "text":
		e.Kind = backend.Text
		m.sent += len(rest)
	case "hold":
		m.tail += rest
		return nil, nil
	case "think":
		e.Kind = backend.Reasoning
	case "note":
		e.Kind = backend.Notice
	case "tool":
		e = backend.Event{Kind: backend.ToolUse, Tool: &backend.Tool{Name: rest, Status: "completed"}}
	case "session":
		e = backend.Event{Kind: backend.Session, Session: rest}
	case "usage":
		e = backend.Event{Kind: backend.UsageReport, Usage: &backend.Usage{CompletionTokens: &n}}
	case "void":
		if n < 0 || int(n) >= m.sent {
			return nil, nil
		}
		m.sent = int(n)
		e = backend.Event{Kind: backend.Void, Keep: int(n)}
	case "done":
		m.ended = true
		e = backend.Event{Kind: backend.Done, Finish: rest}
	case "fail":
		m.ended = true
		e = backend.Event{Kind: backend.Failed, Failure: &backend.Failure{Code: rest, Message: "the CLI's"}}
	default:
		return nil, [][]byte{bytes.Clone(line)}
	}
	return []backend.Event{e}, nil
}

func (m *once) Close() []backend.Event {
	if m.tail == "" {
		return nil
	}
	return []backend.Event{{Kind: backend.Text, Text: m.tail}}
}

// run gives the lines to a machine of the request, and its events as lines, with what is written
// to the CLI.
func run(t testing.TB, b backend.Backend, r backend.Request, lines ...string) (events []string, writes []string) {
	t.Helper()
	m := b.Machine(r)
	m.Open()
	for _, line := range lines {
		buffer := []byte(line)
		got, write := m.Line(buffer)
		clear(buffer)
		events = append(events, describe(got)...)
		for _, w := range write {
			writes = append(writes, string(w))
		}
	}
	return append(events, describe(m.Close())...), writes
}

func describe(events []backend.Event) []string {
	var out []string
	for _, e := range events {
		switch e.Kind {
		case backend.Text:
			out = append(out, "text "+e.Text)
		case backend.Reasoning:
			out = append(out, "think "+e.Text)
		case backend.Notice:
			out = append(out, "note "+e.Text)
		case backend.ToolUse:
			out = append(out, "tool "+e.Tool.Name)
		case backend.Session:
			out = append(out, "session "+e.Session)
		case backend.UsageReport:
			out = append(out, fmt.Sprint("usage ", *e.Usage.CompletionTokens))
		case backend.Void:
			out = append(out, fmt.Sprint("void ", e.Keep))
		case backend.Done:
			out = append(out, "done "+e.Finish)
		case backend.Failed:
			out = append(out, "fail "+e.Failure.Code+" "+e.Failure.Message)
		}
	}
	return out
}

const person = `{"title":"Person","type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0}},"required":["name","age"],"additionalProperties":false}`

var ofPerson = backend.Request{Prompt: "Who?", Schema: json.RawMessage(person)}
