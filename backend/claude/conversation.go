package claude

import (
	"encoding/json"
	"path"

	"penstock/backend"
	"penstock/backend/parse"
)

// conversational are the options of a CLI that is spoken to. Outside the working
// directory it reads what is named here, whatever its permissions.
func conversational(r backend.Request) []string {
	argv := []string{"--input-format=stream-json"}
	if files, _ := r.Documents(); len(files) > 0 {
		argv = append(argv, "--add-dir="+path.Join(r.Dir, backend.DocumentDir))
	}
	return argv
}

// converse makes c the command of a CLI that is spoken to. It waits for another prompt
// after its result line, and may be killed there: what the turn said, and its images,
// are in the session by then (2.1.330: 10 of 10, and as often with a busy processor).
func converse(c *backend.Command, r backend.Request) {
	files, _ := r.Documents()
	c.Input, c.Prompt, c.Settle = backend.Conversation, nil, false
	c.Files = append(c.Files, files...)
}

// conversation is a Machine that speaks to its CLI (`--input-format stream-json`).
type conversation struct {
	Machine
	schema json.RawMessage
	prompt [][]byte // what is still to be written of the request
}

func newConversation(r backend.Request) *conversation {
	_, documents := r.Documents()
	return &conversation{schema: r.Schema, prompt: [][]byte{userLine(r.Prompt+documents, r.Images())}}
}

// Open gives the prompt, or asks for a schema first: the prompt follows once it is taken.
func (c *conversation) Open() [][]byte {
	if len(c.schema) > 0 {
		return [][]byte{initialize(c.schema)}
	}
	return c.rest()
}

// rest is what is still to be written, once.
func (c *conversation) rest() [][]byte {
	write := c.prompt
	c.prompt = nil
	return write
}

func (c *conversation) Line(line []byte) ([]backend.Event, [][]byte) {
	l, stray, ok := c.read(line)
	if !ok {
		return stray, nil
	}
	switch l.Type {
	case "control_request":
		return nil, [][]byte{refuse(l.RequestID)}
	case "control_response":
		return c.controlled(l.Response)
	}
	if len(c.schema) == 0 {
		return c.take(l), nil
	}
	if l.Type == "system" && l.Subtype == "init" && !l.offers(structuredTool) {
		return c.fail(schemaRefused()), nil
	}
	return c.structured(c.take(l)), nil
}

// controlled takes the answer to the one thing that is asked for.
func (c *conversation) controlled(r controlResponse) ([]backend.Event, [][]byte) {
	switch {
	case r.ID != initializeID:
		return nil, nil
	case r.Subtype == "success":
		return nil, c.rest()
	}
	return c.fail(parse.ProviderFailure(0, "claude does not take the request: "+r.Error)), nil
}

func (c *conversation) fail(f *backend.Failure) []backend.Event {
	c.ended = true
	return append(c.answer.Flush(), backend.Event{Kind: backend.Failed, Failure: f})
}

// Reprompt is backend.Reprompter's. The CLI's usage is of each turn, and the machine adds
// it up; its cost is of all turns of the process.
func (c *conversation) Reprompt(text string) [][]byte {
	c.ended, c.stop, c.wrong = false, "", ""
	c.answer.Stirred = false
	return [][]byte{userLine(text, nil)}
}

// userLine is a message of the user's (2.1.252 to 2.1.330). A text with an image beside it
// is no command, but the rule for slashes is one for all.
func userLine(text string, images []backend.Attachment) []byte {
	content := []any{map[string]any{"type": "text", "text": backend.NotACommand(text)}}
	for _, image := range images {
		content = append(content, map[string]any{"type": "image", "source": map[string]any{
			"type": "base64", "media_type": image.Type, "data": image.Data,
		}})
	}
	return marshal(map[string]any{
		"type": "user", "parent_tool_use_id": nil, "session_id": "",
		"message": map[string]any{"role": "user", "content": content},
	})
}

const initializeID = "initialize"

func initialize(schema json.RawMessage) []byte {
	return marshal(map[string]any{"type": "control_request", "request_id": initializeID,
		"request": map[string]any{"subtype": "initialize", "jsonSchema": withoutDialect(schema)}})
}

// refuse answers whatever the CLI asks of its host: it would wait for an answer.
func refuse(id string) []byte {
	return marshal(map[string]any{"type": "control_response", "response": map[string]any{
		"subtype": "error", "request_id": id, "error": "not supported by this host",
	}})
}

// marshal makes one line.
func marshal(v any) []byte {
	line, err := json.Marshal(v)
	if err != nil {
		return []byte("{}") // of a schema that is no JSON; Command has refused it
	}
	return line
}
