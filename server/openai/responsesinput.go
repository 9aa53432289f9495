package openai

import (
	"encoding/json"
	"fmt"
	"slices"

	"penstock/server/dialect"
	"penstock/server/web"
)

// idMax bounds an id that a client sends; ours are far shorter.
const idMax = 256

// inputItems turns the items of a response's input into a conversation.
type inputItems struct {
	messages []dialect.Message
	refs     map[string]bool // ids that messages stand for
	ignored  []string
}

func (in *inputItems) decode(items []json.RawMessage) error {
	for i, one := range items {
		if err := in.item(one, fmt.Sprintf("input[%d]", i)); err != nil {
			return err
		}
	}
	return nil
}

func (in *inputItems) add(m dialect.Message) { in.messages = append(in.messages, m) }

// toolCallItem is how a kind of item tells of a call: its tool where it has no name, the
// member that has what it was called with, and those that have what came of it, where that
// is no item of its own. own is a call that this server tells of.
type toolCallItem struct {
	tool, arguments string
	results         []string
	own             bool
}

// toolCallItems are all of them: clients send again what this server and others sent.
var toolCallItems = map[string]toolCallItem{
	"function_call":         {arguments: "arguments"},
	"custom_tool_call":      {arguments: "input"},
	"mcp_call":              {arguments: "arguments", results: []string{"output", "error"}, own: true},
	"mcp_approval_request":  {arguments: "arguments"},
	"local_shell_call":      {tool: "local_shell", arguments: "action"},
	"shell_call":            {tool: "shell", arguments: "action"},
	"apply_patch_call":      {tool: "apply_patch", arguments: "operation"},
	"web_search_call":       {tool: "web_search", arguments: "action"},
	"file_search_call":      {tool: "file_search", arguments: "queries", results: []string{"results"}},
	"computer_call":         {tool: "computer", arguments: "action"},
	"code_interpreter_call": {tool: "code_interpreter", arguments: "code", results: []string{"outputs"}},
	"image_generation_call": {tool: "image_generation"},
	"tool_search_call":      {tool: "tool_search", arguments: "arguments"},
	"program":               {tool: "program", arguments: "code"},
}

// toolResultItem is how a kind of item tells what came of a call: the member that has it,
// the one that has to do where that is left out, and whether it may be parts as of a message.
type toolResultItem struct {
	result, instead string
	parts           bool
}

var toolResultItems = map[string]toolResultItem{
	"function_call_output":    {result: "output", parts: true},
	"custom_tool_call_output": {result: "output", parts: true},
	"computer_call_output":    {result: "output", parts: true},
	"local_shell_call_output": {result: "output"},
	"shell_call_output":       {result: "output"},
	"apply_patch_call_output": {result: "output", instead: "status"},
	"program_output":          {result: "result"},
	"mcp_approval_response":   {result: "approve"},
}

func (in *inputItems) item(raw json.RawMessage, where string) error {
	f, err := web.ParseObject(raw, where)
	if err != nil {
		return err
	}
	var kind string
	if err := f.Into("type", where, &kind, "a string"); err != nil {
		return err
	}
	if kind == "" && f.Given("role") {
		kind = "message"
	} else if kind == "" && f.Given("id") {
		kind = "item_reference"
	}
	if shape, ok := toolCallItems[kind]; ok {
		return in.toolCall(f, where, shape)
	}
	if shape, ok := toolResultItems[kind]; ok {
		return in.toolResult(f, where, shape)
	}
	switch kind {
	case "message":
		return in.message(f, where)
	case "agent_message": // of another agent of the client's to the one that is asked
		m := message{dialect.Message{Role: dialect.User}}
		if err := f.Into("author", where, &m.Name, "a string"); err != nil {
			return err
		}
		return in.addContent(m, f, where)
	case "item_reference":
		return in.reference(f, where)
	case "reasoning": // what an agent thought is not sent again
		return nil
	case "configuration_update", "additional_tools", "mcp_list_tools", "tool_search_output":
		in.ignored = append(in.ignored, where)
		return nil
	case "compaction", "compaction_summary", "context_compaction", "compaction_trigger":
		return web.BadRequest(where, "%s is of type %q: a conversation that is put together in a way that only its maker can read can't be continued here; send its items", where, kind)
	case "":
		return web.BadRequest(where, "%s has neither a type nor a role", where)
	}
	return web.BadRequest(where, "%s is of type %q, which is not known", where, web.Clip(kind, 40))
}

func (in *inputItems) message(f web.Fields, where string) error {
	var m message
	if err := f.Into("role", where, &m.Role, "a string"); err != nil {
		return err
	}
	if err := m.role(where, "system", "developer", "user", "assistant"); err != nil {
		return err
	}
	return in.addContent(m, f, where)
}

// addContent adds a message with its content.
func (in *inputItems) addContent(m message, f web.Fields, where string) error {
	at := web.JoinField(where, "content")
	if !f.Given("content") && m.Role != dialect.Assistant {
		return web.BadRequest(at, "content is needed")
	}
	if err := m.content(f["content"], at); err != nil {
		return err
	}
	in.add(m.Message)
	return nil
}

// reference is looked up by the server. Some clients name an item once for a call and once
// more for what came of it.
func (in *inputItems) reference(f web.Fields, where string) error {
	at := web.JoinField(where, "id")
	var id string
	if err := f.Into("id", where, &id, "a string"); err != nil {
		return err
	}
	if id == "" || len(id) > idMax {
		return web.BadRequest(at, "%s must be the id of an item", at)
	}
	if in.refs[id] {
		return nil
	}
	if in.refs == nil {
		in.refs = map[string]bool{}
	}
	in.refs[id] = true
	in.add(dialect.Message{Role: dialect.Assistant, Ref: id, Where: at})
	return nil
}

// callID is the id that a call and its result have in common: call_id, or the item's own
// where it has no other.
func callID(f web.Fields, where string) (id string, err error) {
	for _, key := range []string{"id", "approval_request_id", "call_id"} {
		if err := f.Into(key, where, &id, "a string"); err != nil {
			return "", err
		}
	}
	return id, nil
}

// toolCall adds a call to the assistant's turn that is being told, or begins one.
func (in *inputItems) toolCall(f web.Fields, where string, shape toolCallItem) (err error) {
	call := dialect.ToolCall{Name: shape.tool}
	if call.ID, err = callID(f, where); err != nil {
		return err
	}
	if err := f.Into("name", where, &call.Name, "a string"); err != nil {
		return err
	}
	if call.Name == "" {
		return web.BadRequest(web.JoinField(where, "name"), "name is needed")
	}
	if call.Arguments, err = textOf(f[shape.arguments], web.JoinField(where, shape.arguments)); err != nil {
		return err
	}
	last := len(in.messages) - 1
	if last >= 0 && in.messages[last].Role == dialect.Assistant && in.messages[last].Ref == "" && !in.messages[last].Own && !shape.own {
		in.messages[last].ToolCalls = append(in.messages[last].ToolCalls, call)
	} else {
		in.add(dialect.Message{Role: dialect.Assistant, Own: shape.own, ToolCalls: []dialect.ToolCall{call}})
	}
	for _, member := range shape.results {
		if f.Given(member) {
			result := message{dialect.Message{Role: dialect.Tool, Own: shape.own, ToolID: call.ID}}
			result.Text, err = textOf(f[member], web.JoinField(where, member))
			in.add(result.Message)
			return err
		}
	}
	return nil
}

func (in *inputItems) toolResult(f web.Fields, where string, shape toolResultItem) (err error) {
	m := message{dialect.Message{Role: dialect.Tool}}
	if m.ToolID, err = callID(f, where); err != nil {
		return err
	}
	member := shape.result
	if !f.Given(member) && f.Given(shape.instead) {
		member = shape.instead
	}
	raw, at := f[member], web.JoinField(where, member)
	switch kind := web.KindOf(raw); {
	case !f.Given(member):
		return web.BadRequest(at, "%s is needed", at)
	case shape.parts && kind == '[':
		err = m.parts(raw, at)
	case shape.parts && kind == '{':
		err = m.parts(slices.Concat([]byte("["), raw, []byte("]")), at)
	default:
		m.Text, err = textOf(raw, at)
	}
	in.add(m.Message)
	return err
}
