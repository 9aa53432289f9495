package model

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// anthropic is the Messages API.
type anthropic struct{}

func (anthropic) decode(_ *http.Request, body []byte) (conversation, error) {
	var in struct {
		Model    string
		Stream   bool
		System   json.RawMessage
		Messages []struct {
			Role    string
			Content json.RawMessage
		}
		Tools []struct {
			Name   string
			Schema schema `json:"input_schema"`
		}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return conversation{}, fmt.Errorf("messages: %w", err)
	}
	c := conversation{model: in.Model, stream: in.Stream, system: joined(in.System)}
	for _, m := range in.Messages {
		if m.Role == "assistant" {
			c.add(assistantTurn, texts(m.Content)...)
			continue
		}
		anthropicUser(&c, m.Content)
	}
	for _, t := range in.Tools {
		c.tools = append(c.tools, tool{t.Name, t.Schema.names()})
	}
	return c, nil
}

// anthropicUser adds a user message, whose blocks may be tool results.
func anthropicUser(c *conversation, content json.RawMessage) {
	var list []struct {
		block
		Type    string
		Content json.RawMessage
	}
	if json.Unmarshal(content, &list) != nil {
		c.addBlocks(userTurn, blocks(content)...)
		return
	}
	for _, b := range list {
		if b.Type == "tool_result" {
			c.addResult(b.Content)
			continue
		}
		c.addBlocks(userTurn, b.block)
	}
}

func anthropicUsage() map[string]any {
	return map[string]any{
		"input_tokens":                inputTokens - cachedTokens,
		"cache_read_input_tokens":     cachedTokens,
		"cache_creation_input_tokens": 0,
		"output_tokens":               outputTokens,
	}
}

func (anthropic) message(c conversation, content []any, stop any) map[string]any {
	return map[string]any{
		"id": newID("msg_"), "type": "message", "role": "assistant", "model": c.model,
		"content": content, "stop_reason": stop, "stop_sequence": nil, "usage": anthropicUsage(),
	}
}

func (p anthropic) whole(c conversation, a reply) any {
	content, stop := []any{}, a.ending.word("end_turn", "max_tokens", "refusal")
	if a.thought != "" {
		content = append(content, map[string]any{"type": "thinking", "thinking": a.thought, "signature": "c2ln"})
	}
	if a.text != "" {
		content = append(content, map[string]any{"type": "text", "text": a.text})
	}
	if a.callName != "" {
		stop = "tool_use"
		content = append(content, map[string]any{"type": "tool_use", "id": newID("toolu_"),
			"name": a.callName, "input": json.RawMessage(a.callArgs)})
	}
	return p.message(c, content, stop)
}

func (anthropic) failure(status int, message string) any {
	kind := map[int]string{
		400: "invalid_request_error", 401: "authentication_error", 403: "permission_error",
		404: "not_found_error", 429: "rate_limit_error", 529: "overloaded_error",
	}[status]
	if kind == "" {
		kind = "api_error"
	}
	return map[string]any{"type": "error", "request_id": newID("req_"),
		"error": map[string]any{"type": kind, "message": message}}
}

func (anthropic) breakBy() string { return "reset" }

func (p anthropic) stream(out *events, c conversation) wire {
	w := &anthropicWire{out: out, stop: "end_turn", index: -1}
	w.event("message_start", map[string]any{"message": p.message(c, []any{}, nil)})
	return w
}

// anthropicWire keeps one content block open at a time.
type anthropicWire struct {
	out   *events
	block string // type of the open block, "" for none
	index int
	stop  string
}

func (w *anthropicWire) event(kind string, fields map[string]any) {
	fields["type"] = kind
	w.out.named(kind, fields)
}

func (w *anthropicWire) open(kind string, block map[string]any) {
	if w.block == kind {
		return
	}
	w.end()
	w.index++
	w.block = kind
	block["type"] = kind
	w.event("content_block_start", map[string]any{"index": w.index, "content_block": block})
}

func (w *anthropicWire) delta(kind, field, value string) {
	w.event("content_block_delta", map[string]any{"index": w.index,
		"delta": map[string]any{"type": kind, field: value}})
}

func (w *anthropicWire) end() {
	if w.block == "thinking" {
		w.delta("signature_delta", "signature", "c2ln")
	}
	if w.block != "" {
		w.event("content_block_stop", map[string]any{"index": w.index})
	}
	w.block = ""
}

func (w *anthropicWire) think(delta string) {
	w.open("thinking", map[string]any{"thinking": "", "signature": ""})
	w.delta("thinking_delta", "thinking", delta)
}

func (w *anthropicWire) text(delta string) {
	w.open("text", map[string]any{"text": ""})
	w.delta("text_delta", "text", delta)
}

func (w *anthropicWire) call(name, args string) {
	w.open("tool_use", map[string]any{"id": newID("toolu_"), "name": name, "input": map[string]any{}})
	w.delta("input_json_delta", "partial_json", args)
	w.stop = "tool_use"
}

func (w *anthropicWire) finish(how ending) {
	w.end()
	if how != atItsEnd {
		w.stop = how.word("", "max_tokens", "refusal")
	}
	w.event("message_delta", map[string]any{"usage": anthropicUsage(),
		"delta": map[string]any{"stop_reason": w.stop, "stop_sequence": nil}})
	w.event("message_stop", map[string]any{})
}

func (w *anthropicWire) fail(status int, message string) {
	w.out.named("error", anthropic{}.failure(status, message))
}
