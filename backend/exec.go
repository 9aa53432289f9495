package backend

import (
	"unicode/utf8"
)

// execBackend runs any program: the prompt on stdin, text on stdout, and its
// exit status is its last word.
type execBackend struct{ Config }

func newExec(c Config) Backend { return execBackend{c} }

func (b execBackend) Name() string       { return b.Config.Name }
func (b execBackend) Kind() string       { return b.Config.Kind }
func (b execBackend) Framing() Framing   { return Words }
func (b execBackend) Features() Features { return Features{PlainExit: true} }

// Command gives the program AGENT_MODEL when the client named a model.
func (b execBackend) Command(r Request) (Command, error) {
	set := map[string]string{"TMPDIR": r.Tmp}
	if r.Model != "" {
		set["AGENT_MODEL"] = r.Model
	}
	set, pass := b.environment(set)
	return Command{
		Argv:   b.ExtraArgs,
		Set:    set,
		Pass:   pass,
		Prompt: promptWithSystem(r),
	}, nil
}

func (b execBackend) Machine(Request) Machine { return &execMachine{} }

// promptWithSystem is the prompt for a CLI without a system option.
func promptWithSystem(r Request) []byte {
	if r.System == "" {
		return []byte(r.Prompt)
	}
	return []byte(r.System + "\n\n" + r.Prompt)
}

// execMachine turns raw frames into text. held is the start of a code point
// that the frame cut off, at most three bytes.
type execMachine struct{ held []byte }

func (m *execMachine) Open() [][]byte { return nil }

func (m *execMachine) Line(frame []byte) ([]Event, [][]byte) {
	data := append(m.held[:len(m.held):len(m.held)], frame...) // never the frame itself
	whole := len(data) - unfinished(data)
	m.held = data[whole:]
	return textEvent(data[:whole]), nil
}

func (m *execMachine) Close() []Event { return textEvent(m.held) }

func textEvent(data []byte) []Event {
	if len(data) == 0 {
		return nil
	}
	return []Event{{Kind: Text, Text: clean(data)}}
}

// clean replaces each byte that is not UTF-8 by U+FFFD.
func clean(data []byte) string {
	if utf8.Valid(data) {
		return string(data)
	}
	return string([]rune(string(data)))
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
