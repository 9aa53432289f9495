package model

import (
	"encoding/json"
	"slices"
	"strings"
)

type turnKind int

const (
	userTurn turnKind = iota
	assistantTurn
	toolTurn // a tool's result
)

// turn is one block of text of the conversation. CLIs put context and reminders
// in blocks of their own beside the prompt, so a block, not a message, is the unit.
type turn struct {
	kind turnKind
	text string
}

// conversation is a request of any of the protocols, as far as scripts need it.
type conversation struct {
	model  string
	stream bool
	system string // all of it, also what developers say
	usage  bool   // chat completions: stream_options.include_usage
	turns  []turn
	tools  []tool
}

// tool is a tool the request offers and the names of its parameters.
type tool struct {
	name   string
	params []string
}

func (c *conversation) add(kind turnKind, texts ...string) {
	for _, text := range texts {
		c.turns = append(c.turns, turn{kind, text})
	}
}

// lastUserIndex is the last user text with a marker, or without any the last
// user text, or -1.
func (c conversation) lastUserIndex() int {
	last := -1
	for i, t := range slices.Backward(c.turns) {
		if t.kind != userTurn {
			continue
		}
		if marker.MatchString(t.text) {
			return i
		}
		if last < 0 {
			last = i
		}
	}
	return last
}

func (c conversation) lastUser() string {
	if i := c.lastUserIndex(); i >= 0 {
		return c.turns[i].text
	}
	return ""
}

// earlierUser lists all user texts up to and with the last marked one.
func (c conversation) earlierUser() []string {
	var texts []string
	for _, t := range c.turns[:c.lastUserIndex()+1] {
		if t.kind == userTurn {
			texts = append(texts, t.text)
		}
	}
	return texts
}

// marked counts the user texts with a marker.
func (c conversation) marked() int {
	n := 0
	for _, t := range c.turns {
		if t.kind == userTurn && marker.MatchString(t.text) {
			n++
		}
	}
	return n
}

// toolResult is the last tool result given after the last marked user text.
func (c conversation) toolResult() (string, bool) {
	for _, t := range slices.Backward(c.turns[c.lastUserIndex()+1:]) {
		if t.kind == toolTurn {
			return t.text, true
		}
	}
	return "", false
}

// shell picks the CLI's shell tool and makes its arguments for a command.
func (c conversation) shell(command string) (name string, args map[string]any, ok bool) {
	for _, want := range []string{"Bash", "bash", "exec_command", "run_shell_command", "shell_command"} {
		i := slices.IndexFunc(c.tools, func(t tool) bool { return t.name == want })
		if i < 0 {
			continue
		}
		args = map[string]any{}
		for _, p := range c.tools[i].params {
			switch p {
			case "cmd", "command":
				args[p] = command
			case "description":
				args[p] = "run the scripted command"
			case "is_background":
				args[p] = false
			}
		}
		return want, args, true
	}
	return "", nil, false
}

// schema is as much of a JSON Schema as names the parameters of a tool.
type schema struct {
	Properties map[string]json.RawMessage `json:"properties"`
}

func (s schema) names() []string {
	var names []string
	for name := range s.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// texts are the text blocks of a content field: a string or a list of blocks.
func texts(raw json.RawMessage) []string {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}
	}
	var blocks []struct {
		Text *string `json:"text"`
	}
	var list []string
	if json.Unmarshal(raw, &blocks) == nil {
		for _, b := range blocks {
			if b.Text != nil {
				list = append(list, *b.Text)
			}
		}
	}
	return list
}

func joined(raw json.RawMessage) string { return strings.Join(texts(raw), "\n") }
