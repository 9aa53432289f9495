package model

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

type turnKind int

const (
	userTurn turnKind = iota
	assistantTurn
	toolTurn  // a tool's result
	imageTurn // its text is nothing
)

// turn is one block of text of the conversation. CLIs put context and reminders
// in blocks of their own beside the prompt, so a block, not a message, is the unit.
type turn struct {
	kind  turnKind
	text  string
	image Image // of an imageTurn
}

// Image is a picture, or a document, that a request holds as data.
type Image struct {
	Type   string // media type
	SHA256 string // of the decoded data, in hex; "" where it is none
	Bytes  int
}

// imageOf takes an image's base64 data.
func imageOf(mediaType, data string) turn {
	image := Image{Type: mediaType}
	if raw, err := base64.StdEncoding.DecodeString(data); err == nil {
		image.SHA256, image.Bytes = fmt.Sprintf("%x", sha256.Sum256(raw)), len(raw)
	}
	return turn{kind: imageTurn, image: image}
}

// imageOfURL takes an image's data URI.
func imageOfURL(uri string) turn {
	head, data, _ := strings.Cut(strings.TrimPrefix(uri, "data:"), ",")
	return imageOf(strings.TrimSuffix(head, ";base64"), data)
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
		c.turns = append(c.turns, turn{kind: kind, text: text})
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
	results := c.toolResults()
	if len(results) == 0 {
		return "", false
	}
	return results[len(results)-1], true
}

// toolResults are those given after the last marked user text.
func (c conversation) toolResults() []string {
	var results []string
	for _, t := range c.turns[c.lastUserIndex()+1:] {
		if t.kind == toolTurn {
			results = append(results, t.text)
		}
	}
	return results
}

// answers counts the model's texts after the last marked user text.
func (c conversation) answers() int {
	n := 0
	for _, t := range c.turns[c.lastUserIndex()+1:] {
		if t.kind == assistantTurn {
			n++
		}
	}
	return n
}

// images are those of the last marked user text's turn: since the answer before it.
func (c conversation) images() []Image {
	start := c.lastUserIndex()
	for start >= 0 && c.turns[start].kind != assistantTurn {
		start--
	}
	var images []Image
	for _, t := range c.turns[start+1:] {
		if t.kind == imageTurn {
			images = append(images, t.image)
		}
	}
	return images
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

// block is one of a content field's, of any of the protocols but Gemini's.
type block struct {
	Text   *string
	Source struct {
		Type string `json:"media_type"`
		Data string
	}
	URL json.RawMessage `json:"image_url"` // chat: {"url":...}; responses: the URL itself
}

// image is false for a block that is none.
func (b block) image() (turn, bool) {
	if b.Source.Data != "" {
		return imageOf(b.Source.Type, b.Source.Data), true
	}
	var inner struct{ URL string }
	if json.Unmarshal(b.URL, &inner.URL) != nil {
		_ = json.Unmarshal(b.URL, &inner) // "" then
	}
	return imageOfURL(inner.URL), inner.URL != ""
}

// blocks of a content field: a string, or a list.
func blocks(raw json.RawMessage) []block {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []block{{Text: &one}}
	}
	var list []block
	_ = json.Unmarshal(raw, &list) // none then
	return list
}

// addBlocks adds texts and images in their order.
func (c *conversation) addBlocks(kind turnKind, blocks ...block) {
	for _, b := range blocks {
		if b.Text != nil {
			c.add(kind, *b.Text)
		} else if image, ok := b.image(); ok {
			c.turns = append(c.turns, image)
		}
	}
}

// addResult adds a tool's result as one text, and its images.
func (c *conversation) addResult(raw json.RawMessage) {
	c.add(toolTurn, joined(raw))
	for _, b := range blocks(raw) {
		if image, ok := b.image(); ok {
			c.turns = append(c.turns, image)
		}
	}
}

func texts(raw json.RawMessage) []string {
	var list []string
	for _, b := range blocks(raw) {
		if b.Text != nil {
			list = append(list, *b.Text)
		}
	}
	return list
}

func joined(raw json.RawMessage) string { return strings.Join(texts(raw), "\n") }
