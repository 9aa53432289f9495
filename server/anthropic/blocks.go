package anthropic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"penstock/server/dialect"
	"penstock/server/media"
	"penstock/server/web"
)

// blocks makes messages of the content of one: results of tools are messages of their own.
type blocks struct {
	dialect.Message
	text    strings.Builder
	out     []dialect.Message
	ignored []string // where blocks are that have no effect
}

// done gives the messages. One that nothing was in is still one, but not where all of it is ignored.
func (m *blocks) done() []dialect.Message {
	m.flush(len(m.out) == 0 && len(m.ignored) == 0)
	return m.out
}

// flush ends the message so far, where there is one.
func (m *blocks) flush(even bool) {
	if !even && m.text.Len() == 0 && len(m.ToolCalls) == 0 && len(m.Parts) == 0 && m.Unsupported == nil {
		return
	}
	role := m.Role
	m.Text = m.text.String()
	m.out = append(m.out, m.Message)
	m.text.Reset()
	m.Message = dialect.Message{Role: role}
}

// content takes a string, or an array of blocks.
func (m *blocks) content(raw json.RawMessage, where string) error {
	switch web.KindOf(raw) {
	case '"':
		text, err := web.Unquote(raw)
		if err != nil {
			return web.BadRequest(where, "not valid JSON: %v", err)
		}
		m.text.WriteString(text)
		return nil
	case '[':
	default:
		return web.BadRequest(where, "%s must be a string or an array of blocks", where)
	}
	i := -1
	return web.Members(raw, func(_, block json.RawMessage) error {
		i++
		at := fmt.Sprintf("%s[%d]", where, i)
		f, err := web.ParseObject(block, at)
		if err != nil {
			return err
		}
		return m.block(f, at)
	})
}

// quiet are the blocks of an assistant that are not told again: what it thought.
var quiet = []string{"thinking", "redacted_thinking"}

// toolChanges are the blocks of a system message that tell of the client's tools, which are
// ignored: Claude Code (2.1.330) sends them when a server of its tools comes or goes, and again
// in each later turn.
var toolChanges = []string{"tool_addition", "tool_removal"}

func (m *blocks) block(f web.Fields, at string) error {
	var kind string
	if err := f.Into("type", at, &kind, "a string"); err != nil {
		return err
	}
	switch {
	case kind == "text":
		return m.textBlock(f, at)
	case m.Role == dialect.System && slices.Contains(toolChanges, kind):
		m.ignored = append(m.ignored, at)
		return nil
	case m.Role == dialect.System:
		return web.BadRequest(at+".type", "a system text has blocks of type text only, not %q", web.Clip(kind, 40))
	case m.Role == dialect.Assistant && slices.Contains(quiet, kind):
		return nil
	case kind == "tool_use", kind == "mcp_tool_use", kind == "server_tool_use":
		return m.call(f, at, kind == "mcp_tool_use")
	case kind == "tool_result", strings.HasSuffix(kind, "_tool_result"):
		return m.result(f, at, kind == "mcp_tool_result")
	case kind == "image", kind == "document":
		return m.media(f, kind, at)
	case kind == "":
		return web.BadRequest(at+".type", "type is needed")
	}
	m.leaveOut(kind, web.BadRequest(at+".type", "blocks of type %q are not taken: text, image, document, tool_use, tool_result and thinking are", web.Clip(kind, 40)))
	return nil
}

// leaveOut names what can't be sent: that is an error only where its turn is (see dialect.Message).
func (m *blocks) leaveOut(kind string, err error) {
	if m.Unsupported == nil {
		m.Unsupported = err
	}
	dialect.AddLine(&m.text, note(kind))
}

func note(kind string) string { return fmt.Sprintf("[%s: left out here]", web.Clip(kind, 40)) }

func (m *blocks) textBlock(f web.Fields, at string) error {
	if !f.Given("text") {
		return web.BadRequest(at+".text", "text is needed")
	}
	var text string
	if err := f.Into("text", at, &text, "a string"); err != nil {
		return err
	}
	if m.Role == dialect.Assistant { // its blocks are one text, as they were sent
		m.text.WriteString(text)
		return nil
	}
	dialect.AddLine(&m.text, text)
	return nil
}

// call is of a tool; own tells those that the agent itself has used.
func (m *blocks) call(f web.Fields, at string, own bool) error {
	var c dialect.ToolCall
	if err := f.Into("id", at, &c.ID, "a string"); err != nil {
		return err
	}
	if err := f.Into("name", at, &c.Name, "a string"); err != nil {
		return err
	}
	if f.Given("input") {
		var input bytes.Buffer
		if err := json.Compact(&input, f["input"]); err != nil {
			return web.BadRequest(at+".input", "not valid JSON: %v", err)
		}
		c.Arguments = input.String()
	}
	if own {
		m.flush(false)
		m.Own = true
	}
	m.ToolCalls = append(m.ToolCalls, c)
	if own {
		m.flush(false)
	}
	return nil
}

// result is a message of its own. What stands before it in its message comes before it.
func (m *blocks) result(f web.Fields, at string, own bool) error {
	m.flush(false)
	r := blocks{Message: dialect.Message{Role: dialect.Tool, Own: own}}
	if err := f.Into("tool_use_id", at, &r.ToolID, "a string"); err != nil {
		return err
	}
	if f.Given("content") {
		if err := r.resultContent(f["content"], at+".content"); err != nil {
			return err
		}
	}
	m.out = append(m.out, r.done()...)
	return nil
}

// resultContent takes text and pictures; of any other block that a server's tool gave only the
// kind is told.
func (m *blocks) resultContent(raw json.RawMessage, where string) error {
	if web.KindOf(raw) == '{' { // an error of a server's tool
		m.text.WriteString(string(raw))
		return nil
	}
	if web.KindOf(raw) != '[' {
		return m.content(raw, where)
	}
	i := -1
	return web.Members(raw, func(_, block json.RawMessage) error {
		i++
		at := fmt.Sprintf("%s[%d]", where, i)
		f, err := web.ParseObject(block, at)
		if err != nil {
			return err
		}
		var kind string
		if err := f.Into("type", at, &kind, "a string"); err != nil {
			return err
		}
		switch kind {
		case "text":
			return m.textBlock(f, at)
		case "image", "document":
			return m.media(f, kind, at)
		}
		dialect.AddLine(&m.text, note(kind))
		return nil
	})
}

// media adds an image, or a document.
func (m *blocks) media(f web.Fields, kind, at string) error {
	if err := m.source(f, kind, at); err != nil {
		m.leaveOut(kind, err)
	}
	return nil
}

// source adds what the source of an image or a document has, or where that is.
func (m *blocks) source(f web.Fields, kind, at string) error {
	where := at + ".source"
	if !f.Given("source") {
		return web.BadRequest(where, "source is needed")
	}
	source, err := web.ParseObject(f["source"], where)
	if err != nil {
		return err
	}
	p := dialect.Part{Source: media.Source{Kind: media.Image}, Note: note(kind), At: m.text.Len()}
	if kind == "document" {
		p.Kind = media.File
		if err := f.Into("title", at, &p.Name, "a string"); err != nil {
			return err
		}
	}
	if err := source.Into("media_type", where, &p.Type, "a string"); err != nil {
		return err
	}
	var form string
	if err := source.Into("type", where, &form, "a string"); err != nil {
		return err
	}
	field := "data"
	switch {
	case form == "base64":
	case form == "url":
		field = "url"
	case form == "text" && kind == "document":
		p.Kind = media.Text
	case form == "content" && kind == "document":
		return m.documentText(source["content"], where+".content")
	default:
		return web.BadRequest(where+".type", "%s.type must be base64 or url, or text or content of a document: files are not kept here", where)
	}
	p.Where, p.Data = where+"."+field, source[field]
	if web.KindOf(p.Data) != '"' {
		return web.BadRequest(p.Where, "%s must be a string", p.Where)
	}
	m.Parts = append(m.Parts, p)
	return nil
}

// documentText is a document that is a text, or blocks.
func (m *blocks) documentText(raw json.RawMessage, where string) error {
	if web.KindOf(raw) == '"' {
		text, err := web.Unquote(raw)
		if err != nil {
			return web.BadRequest(where, "not valid JSON: %v", err)
		}
		dialect.AddLine(&m.text, text)
		return nil
	}
	return m.resultContent(raw, where)
}
