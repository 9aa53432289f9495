// Package program runs any program as a backend: by its text (exec.go), or by our
// own event lines, which can say all that an event can (jsonl.go).
package program

import (
	"unicode/utf8"

	"penstock/backend"
	"penstock/backend/parse"
)

// execProgram runs any program: the prompt on stdin, text on stdout, and its
// exit status is its last word.
type execProgram struct{ backend.Config }

func NewExec(c backend.Config) backend.Backend { return execProgram{c} }

func (b execProgram) Name() string { return b.Config.Name }

func (b execProgram) Kind() string { return b.Config.Kind }

func (b execProgram) Framing() backend.Framing { return backend.Words }

func (b execProgram) Features() backend.Features { return backend.Features{PlainExit: true} }

// Command gives the program AGENT_MODEL when the client named a model.
func (b execProgram) Command(r backend.Request) (backend.Command, error) {
	set := map[string]string{"TMPDIR": r.Tmp}
	if r.Model != "" {
		set["AGENT_MODEL"] = r.Model
	}
	set, pass := b.Environment(set)
	return backend.Command{
		Argv:   b.ExtraArgs,
		Set:    set,
		Pass:   pass,
		Prompt: backend.PromptWithSystem(r),
	}, nil
}

func (b execProgram) Machine(backend.Request) backend.Machine { return &execMachine{} }

// execMachine turns raw frames into text. held is the start of a code point
// that the frame cut off, at most three bytes.
type execMachine struct{ held []byte }

func (m *execMachine) Open() [][]byte { return nil }

func (m *execMachine) Line(frame []byte) ([]backend.Event, [][]byte) {
	data := append(m.held[:len(m.held):len(m.held)], frame...) // never the frame itself
	whole := len(data) - unfinished(data)
	m.held = data[whole:]
	return textEvent(data[:whole]), nil
}

func (m *execMachine) Close() []backend.Event { return textEvent(m.held) }

func textEvent(data []byte) []backend.Event {
	if len(data) == 0 {
		return nil
	}
	return []backend.Event{{Kind: backend.Text, Text: parse.Clean(data)}}
}

// unfinished is how many bytes at the end of data begin a code point that more
// bytes could complete.
func unfinished(data []byte) int {
	for n := 1; n <= min(len(data), utf8.UTFMax-1); n++ {
		tail := data[len(data)-n:]
		if utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}
