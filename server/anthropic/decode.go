package anthropic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"penstock/server/dialect"
	"penstock/server/media"
	"penstock/server/web"
)

// DecodeMessages turns the body of a POST /v1/messages and its headers into a request; every
// error is a 400 naming the field.
func DecodeMessages(body []byte, h http.Header) (*dialect.Request, error) {
	f, err := web.ParseObject(body, "")
	if err != nil {
		return nil, err
	}
	q := &dialect.Request{Turns: "messages"}
	if err := q.DecodeCommon(f, h); err != nil {
		return nil, err
	}
	d := decoder{q}
	for _, step := range []func(web.Fields) error{d.system, d.messages, d.person, d.output, unsupported} {
		if err := step(f); err != nil {
			return nil, err
		}
	}
	q.DropBilling()
	q.SetIgnored(handled)
	return q, nil
}

// handled are the fields that have an effect, or whose only accepted values ask for what
// happens anyway. max_tokens is not among them: it is needed there, and can't be honoured.
var handled = []string{"messages", "system", "tool_choice", "stop_sequences", "output_config", "output_format", "mcp_servers"}

// decoder fills a request from the fields of a message.
type decoder struct{ *dialect.Request }

// system takes a string, or an array of text blocks.
func (q decoder) system(f web.Fields) error {
	if !f.Given("system") {
		return nil
	}
	var m blocks
	m.Role = dialect.System
	if err := m.content(f["system"], "system"); err != nil {
		return err
	}
	q.add(&m)
	return nil
}

func (q decoder) add(m *blocks) {
	q.Messages, q.Ignored = append(q.Messages, m.done()...), append(q.Ignored, m.ignored...)
}

func (q decoder) messages(f web.Fields) error {
	raw, err := f.Array("messages", "", "an array")
	if err != nil {
		return err
	}
	if len(raw) == 0 {
		return web.BadRequest("messages", "messages must not be empty")
	}
	for i, one := range raw {
		m, err := decodeMessage(one, fmt.Sprintf("messages[%d]", i))
		if err != nil {
			return err
		}
		q.add(m)
	}
	if !slices.ContainsFunc(q.Messages, func(m dialect.Message) bool { return m.Role != dialect.System }) {
		return web.BadRequest("messages", "messages has only system text: a user message is needed")
	}
	return nil
}

func decodeMessage(raw json.RawMessage, where string) (*blocks, error) {
	f, err := web.ParseObject(raw, where)
	if err != nil {
		return nil, err
	}
	var m blocks
	if err := f.Into("role", where, &m.Role, "a string"); err != nil {
		return nil, err
	}
	switch m.Role {
	case dialect.User, dialect.Assistant, dialect.System: // Claude Code (2.1.330) sends the last among the others
	case "":
		return nil, web.BadRequest(where+".role", "role is needed")
	default:
		return nil, web.BadRequest(where+".role", "role %q is not one of user, assistant, system", web.Clip(m.Role, 40))
	}
	if !f.Given("content") && m.Role == dialect.Assistant { // a turn that said nothing
		return &m, nil
	}
	if !f.Given("content") {
		return nil, web.BadRequest(where+".content", "content is needed")
	}
	if err := m.content(f["content"], where+".content"); err != nil {
		return nil, err
	}
	return &m, nil
}

// person takes metadata.user_id, which tells people apart that share a token.
func (q decoder) person(f web.Fields) error {
	if !f.Given("metadata") {
		return nil
	}
	metadata, err := f.Object("metadata")
	if err != nil {
		return err
	}
	return metadata.Into("user_id", "metadata", &q.Person, "a string")
}

// output takes what the answer is to be: its effort and its form, the latter also by the name
// that it had before.
func (q decoder) output(f web.Fields) error {
	const config = "output_config"
	if f.Given(config) {
		output, err := f.Object(config)
		if err != nil {
			return err
		}
		var effort string
		if err := output.Into("effort", config, &effort, "a string"); err != nil {
			return err
		}
		if err := q.SetEffort(config+".effort", effort); err != nil {
			return err
		}
		if output.Given("format") {
			return q.format(output["format"], config+".format")
		}
	}
	if f.Given("output_format") {
		return q.format(f["output_format"], "output_format")
	}
	return nil
}

func (q decoder) format(raw json.RawMessage, where string) error {
	format, err := web.ParseObject(raw, where)
	if err != nil {
		return err
	}
	var kind string
	if err := format.Into("type", where, &kind, "a string"); err != nil {
		return err
	}
	if kind != "json_schema" {
		return web.BadRequest(where+".type", "%s.type must be json_schema", where)
	}
	return q.SetSchema(format["schema"], where+".schema")
}

// unsupported refuses the fields whose being ignored would give a wrong answer.
func unsupported(f web.Fields) error {
	if f.Given("max_tokens") {
		var n float64
		if err := f.Into("max_tokens", "", &n, "a whole number"); err != nil {
			return err
		}
		if n < 0 || n != float64(int64(n)) {
			return web.BadRequest("max_tokens", "max_tokens must be a whole number")
		}
	}
	if f.Given("stop_sequences") && !isEmpty(f["stop_sequences"]) {
		return web.BadRequest("stop_sequences", "stop sequences can't be honoured")
	}
	if f.Given("response_format") {
		return web.BadRequest("response_format", "response_format is output_config.format here")
	}
	if f.Given("mcp_servers") && !isEmpty(f["mcp_servers"]) {
		return web.BadRequest("mcp_servers", "mcp_servers can't be had yet: the agent uses those of its own configuration")
	}
	if !f.Given("tool_choice") {
		return nil
	}
	choice, err := f.Object("tool_choice")
	if err != nil {
		return err
	}
	var kind string
	if err := choice.Into("type", "tool_choice", &kind, "a string"); err != nil {
		return err
	}
	if kind != "auto" && kind != "none" {
		return web.BadRequest("tool_choice", "tool_choice.type must be auto or none: the agent uses its own tools (hint: output_config.format asks for an answer by a schema)")
	}
	return nil
}

func isEmpty(raw json.RawMessage) bool { return bytes.Equal(compact(raw), []byte("[]")) }

func compact(raw json.RawMessage) []byte {
	return []byte(strings.Join(strings.Fields(string(raw[:min(len(raw), 64)])), ""))
}

// CountTokens estimates what a request has the model read, from its texts alone: a token for
// four bytes, some for each message, and as many as a picture has at most. The agent adds its own
// instructions and tools, which only it knows.
func CountTokens(messages []dialect.Message) int64 {
	const bytesEach, each, picture = 4, 4, 1600
	var n int64
	for _, m := range messages {
		size := len(m.Text)
		for _, c := range m.ToolCalls {
			size += len(c.Name) + len(c.Arguments)
		}
		for _, p := range m.Parts {
			if p.Kind == media.Image {
				n += picture
			} else {
				size += len(p.Data) / 4 * 3 // of base64
			}
		}
		n += each + int64((size+bytesEach-1)/bytesEach)
	}
	return n
}
