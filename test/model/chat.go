package model

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// chat is OpenAI Chat Completions.
type chat struct{}

func (chat) decode(_ *http.Request, body []byte) (conversation, error) {
	var in struct {
		Model   string
		Stream  bool
		Options struct {
			Include bool `json:"include_usage"`
		} `json:"stream_options"`
		Messages []struct {
			Role    string
			Content json.RawMessage
		}
		Tools []struct {
			Function struct {
				Name       string
				Parameters schema
			}
		}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return conversation{}, fmt.Errorf("chat completions: %w", err)
	}
	c := conversation{model: in.Model, stream: in.Stream, usage: in.Options.Include}
	for _, m := range in.Messages {
		switch m.Role {
		case "user":
			c.addBlocks(userTurn, blocks(m.Content)...)
		case "assistant":
			c.add(assistantTurn, texts(m.Content)...)
		case "tool":
			c.addResult(m.Content)
		case "system", "developer":
			c.system += joined(m.Content) + "\n"
		}
	}
	for _, t := range in.Tools {
		c.tools = append(c.tools, tool{t.Function.Name, t.Function.Parameters.names()})
	}
	return c, nil
}

func chatUsage() map[string]any {
	return map[string]any{
		"prompt_tokens": inputTokens, "completion_tokens": outputTokens,
		"total_tokens":          inputTokens + outputTokens,
		"prompt_tokens_details": map[string]any{"cached_tokens": cachedTokens},
	}
}

func chatCall(name, args string) []any {
	return []any{map[string]any{"index": 0, "id": newID("call_"), "type": "function",
		"function": map[string]any{"name": name, "arguments": args}}}
}

func (chat) whole(c conversation, a reply) any {
	message := map[string]any{"role": "assistant", "content": a.text}
	finish := a.ending.word("stop", "length", "content_filter")
	if a.thought != "" {
		message["reasoning_content"] = a.thought
	}
	if a.callName != "" {
		message["tool_calls"], finish = chatCall(a.callName, a.callArgs), "tool_calls"
	}
	return map[string]any{
		"id": newID("chatcmpl-"), "object": "chat.completion", "created": created, "model": c.model,
		"choices": []any{map[string]any{"index": 0, "message": message, "finish_reason": finish}},
		"usage":   chatUsage(),
	}
}

// failure is the error body of both OpenAI protocols.
func (chat) failure(status int, message string) any {
	kind, code := "server_error", any(nil)
	switch status {
	case 400, 403, 404:
		kind = "invalid_request_error"
	case 401:
		kind, code = "invalid_request_error", "invalid_api_key"
	case 429:
		kind, code = "requests", "rate_limit_exceeded"
	}
	return map[string]any{"error": map[string]any{"message": message, "type": kind, "param": nil, "code": code}}
}

func (chat) breakBy() string { return "reset" }

func (chat) stream(out *events, c conversation) wire {
	w := &chatWire{out: out, id: newID("chatcmpl-"), model: c.model, usage: c.usage, reason: "stop"}
	w.delta(map[string]any{"role": "assistant", "content": ""})
	return w
}

type chatWire struct {
	out    *events
	id     string
	model  string
	usage  bool
	reason string
}

func (w *chatWire) chunk(choices []any, usage any) {
	c := map[string]any{"id": w.id, "object": "chat.completion.chunk", "created": created,
		"model": w.model, "choices": choices}
	if usage != nil {
		c["usage"] = usage
	}
	w.out.data(c)
}

func (w *chatWire) delta(delta map[string]any) {
	w.chunk([]any{map[string]any{"index": 0, "delta": delta, "finish_reason": nil}}, nil)
}

func (w *chatWire) think(delta string) { w.delta(map[string]any{"reasoning_content": delta}) }
func (w *chatWire) text(delta string)  { w.delta(map[string]any{"content": delta}) }

func (w *chatWire) call(name, args string) {
	w.delta(map[string]any{"tool_calls": chatCall(name, args)})
	w.reason = "tool_calls"
}

func (w *chatWire) finish(how ending) {
	if how != atItsEnd {
		w.reason = how.word("", "length", "content_filter")
	}
	w.chunk([]any{map[string]any{"index": 0, "delta": map[string]any{}, "finish_reason": w.reason}}, nil)
	if w.usage {
		w.chunk([]any{}, chatUsage())
	}
	w.out.raw("[DONE]")
}

func (w *chatWire) fail(status int, message string) {
	w.out.data(chat{}.failure(status, message))
}
