package model

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// responses is OpenAI Responses.
type responses struct{}

func (responses) decode(_ *http.Request, body []byte) (conversation, error) {
	var in struct {
		Model        string
		Stream       bool
		Input        json.RawMessage
		Instructions string
		Tools        []struct {
			Name       string
			Parameters schema
		}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return conversation{}, fmt.Errorf("responses: %w", err)
	}
	c := conversation{model: in.Model, stream: in.Stream, system: in.Instructions + "\n"}
	var items []struct {
		Type    string
		Role    string
		Content json.RawMessage
		Output  json.RawMessage
	}
	if json.Unmarshal(in.Input, &items) != nil {
		c.addBlocks(userTurn, blocks(in.Input)...)
	}
	for _, it := range items {
		switch {
		case it.Type == "function_call_output":
			c.addResult(it.Output)
		case it.Role == "user":
			c.addBlocks(userTurn, blocks(it.Content)...)
		case it.Role == "assistant":
			c.add(assistantTurn, texts(it.Content)...)
		case it.Role == "system", it.Role == "developer":
			c.system += joined(it.Content) + "\n"
		}
	}
	for _, t := range in.Tools {
		c.tools = append(c.tools, tool{t.Name, t.Parameters.names()})
	}
	return c, nil
}

func messageItem(id, text string) map[string]any {
	return map[string]any{"id": id, "type": "message", "role": "assistant", "status": "completed",
		"content": []any{outputText(text)}}
}

func outputText(text string) map[string]any {
	return map[string]any{"type": "output_text", "text": text, "annotations": []any{}}
}

func reasoningItem(id, text string) map[string]any {
	return map[string]any{"id": id, "type": "reasoning", "summary": []any{summaryText(text)}}
}

func summaryText(text string) map[string]any {
	return map[string]any{"type": "summary_text", "text": text}
}

func callItem(id, name, args string) map[string]any {
	return map[string]any{"id": id, "type": "function_call", "call_id": newID("call_"),
		"name": name, "arguments": args, "status": "completed"}
}

func response(id, model, status string, output []any) map[string]any {
	return map[string]any{"id": id, "object": "response", "created_at": created,
		"model": model, "status": status, "output": output}
}

func withUsage(r map[string]any) map[string]any {
	r["usage"] = map[string]any{
		"input_tokens": inputTokens, "output_tokens": outputTokens,
		"total_tokens":          inputTokens + outputTokens,
		"input_tokens_details":  map[string]any{"cached_tokens": cachedTokens},
		"output_tokens_details": map[string]any{"reasoning_tokens": 0},
	}
	return r
}

func (responses) whole(c conversation, a reply) any {
	output := []any{}
	if a.thought != "" {
		output = append(output, reasoningItem(newID("rs_"), a.thought))
	}
	if a.text != "" {
		output = append(output, messageItem(newID("msg_"), a.text))
	}
	if a.callName != "" {
		output = append(output, callItem(newID("fc_"), a.callName, a.callArgs))
	}
	return a.ending.mark(withUsage(response(newID("resp_"), c.model, "completed", output)))
}

// mark makes a response one that came to an end before its own.
func (e ending) mark(response map[string]any) map[string]any {
	if e != atItsEnd {
		response["status"] = "incomplete"
		response["incomplete_details"] = map[string]any{"reason": e.word("", "max_output_tokens", "content_filter")}
	}
	return response
}

func (responses) failure(status int, message string) any { return chat{}.failure(status, message) }

func (responses) breakBy() string { return "reset" }
