package pi

import (
	"encoding/json"
	"fmt"
	"slices"

	"penstock/backend"
	"penstock/backend/parse"
)

// converse makes c the command of a pi that is spoken to. It waits for another prompt
// once it has settled, and may be killed there: the session is on disk by then (0.87.1:
// 10 of 10, and as often with a busy processor).
func converse(c *backend.Command, r backend.Request) {
	files, _ := r.Documents()
	c.Input, c.Prompt, c.Settle = backend.Conversation, nil, false
	c.Files = append(c.Files, files...)
}

// conversation is a machine that speaks to its pi (`--mode rpc`). It asks for the state
// first: that names the session, which no other line does, and what the chosen model can
// see. pi leaves out images of one that can't, and tells the model only.
type conversation struct {
	machine
	state  []byte   // the request for it
	prompt [][]byte // until the state has come
	images int      // that the user's message is to have, until it has come
}

func newConversation(r backend.Request) *conversation {
	_, documents := r.Documents()
	images := r.Images()
	return &conversation{
		state:  marshal(map[string]any{"id": stateID(len(images)), "type": "get_state"}),
		prompt: [][]byte{promptLine(r.Prompt+documents, images)},
	}
}

// stateID is the request's id, which comes back with the answer: with it a replay, which
// has no attachments, knows how many images there were.
func stateID(images int) string { return fmt.Sprintf("state, images: %d", images) }

func imagesIn(id string) (n int, ok bool) {
	_, err := fmt.Sscanf(id, "state, images: %d", &n)
	return n, err == nil
}

func (c *conversation) Open() [][]byte { return [][]byte{c.state} }

func (c *conversation) Line(line []byte) ([]backend.Event, [][]byte) {
	l, stray, ok := c.read(line)
	switch {
	case !ok:
		return stray, nil
	case l.Type == "response":
		return c.responded(l)
	case l.Type == "extension_ui_request":
		return nil, l.dismissed()
	case l.Type == "message_start" && l.Message.Role == "user" && c.images > 0:
		if f := c.leftOut(line); f != nil {
			return c.fail(f), nil
		}
	}
	return c.take(l), nil
}

// responded takes the answer to a request of ours.
func (c *conversation) responded(l outputLine) ([]backend.Event, [][]byte) {
	if !l.Success {
		f := parse.ProviderFailure(0, fmt.Sprintf("pi does not take the request %s: %s", l.Command, l.Error))
		if noLogin(l.Error) {
			f = parse.NoLogin(l.Error)
		}
		return c.fail(f), nil
	}
	images, ok := imagesIn(l.ID)
	if !ok {
		return nil, nil
	}
	c.session, c.images = l.Data.Session, images
	if m := l.Data.Model; images > 0 && m != nil && !slices.Contains(m.Input, "image") {
		return c.fail(&backend.Failure{Code: "unsupported_input", Message: fmt.Sprintf(
			"pi's model %s/%s takes no images (hint: name a model that does, or, if it does, put \"image\" into its input in pi's models.json)", m.Provider, m.ID)}), nil
	}
	write := c.prompt
	c.prompt = nil
	return nil, write
}

// leftOut is the failure of a turn whose message has fewer images than it was given: pi
// puts a sentence in the place of one that it can't read or make small enough.
func (c *conversation) leftOut(line []byte) *backend.Failure {
	want := c.images
	c.images = 0
	if have := imagesOf(line); have < want {
		return &backend.Failure{Code: "unsupported_input", Message: fmt.Sprintf(
			"pi leaves out %d of %d images: it can't read them, or not make them as small as its model wants them", want-have, want)}
	}
	return nil
}

// imagesOf counts the images of a line's message.
func imagesOf(line []byte) (n int) {
	var l struct {
		Message struct {
			Content []struct {
				Type string `json:"type"`
			} `json:"content"`
		} `json:"message"`
	}
	if !parse.Decode(line, &l) {
		return 0
	}
	for _, block := range l.Message.Content {
		if block.Type == "image" {
			n++
		}
	}
	return n
}

func (c *conversation) fail(f *backend.Failure) []backend.Event {
	c.ended = true
	return append(c.answer.Flush(), backend.Event{Kind: backend.Failed, Failure: f})
}

// Reprompt is backend.Reprompter's.
func (c *conversation) Reprompt(text string) [][]byte {
	c.ended, c.last = false, message{}
	c.answer.Stirred = false
	return [][]byte{promptLine(text, nil)}
}

func promptLine(text string, images []backend.Attachment) []byte {
	line := map[string]any{"id": "prompt", "type": "prompt", "message": backend.PlainPrompt(text)}
	if len(images) > 0 {
		var content []any
		for _, image := range images {
			content = append(content, map[string]any{"type": "image", "mimeType": image.Type, "data": image.Data})
		}
		line["images"] = content
	}
	return marshal(line)
}

// dismissed answers a dialog of an extension of the user's, which would wait for ever.
func (l outputLine) dismissed() [][]byte {
	switch l.Method {
	case "select", "confirm", "input", "editor":
		return [][]byte{marshal(map[string]any{"type": "extension_ui_response", "id": l.ID, "cancelled": true})}
	}
	return nil
}

func marshal(v any) []byte {
	line, err := json.Marshal(v)
	if err != nil {
		return []byte("{}") // strings, numbers and bytes always can be
	}
	return line
}
