package model

import (
	"encoding/json"
	"strings"
	"testing"
)

func fixed(path string) func(bool) string { return func(bool) string { return path } }

func shellSchema() any {
	return map[string]any{"type": "object", "properties": map[string]any{
		"command": map[string]any{"type": "string"}, "description": map[string]any{"type": "string"}}}
}

func anthropicClient() client {
	body := func(stream bool, turns []turn, tool bool) any {
		messages := []any{}
		for _, t := range turns {
			role, block := "user", map[string]any{"type": "text", "text": t.text}
			switch t.kind {
			case assistantTurn:
				role = "assistant"
			case toolTurn:
				block = map[string]any{"type": "tool_result", "tool_use_id": "x", "content": []any{block}}
			}
			messages = append(messages, map[string]any{"role": role, "content": []any{block}})
		}
		in := map[string]any{"model": "fake-model", "stream": stream, "max_tokens": 9, "messages": messages}
		if tool {
			in["tools"] = []any{map[string]any{"name": "Bash", "input_schema": shellSchema()}}
		}
		return in
	}
	return client{
		name: "anthropic", auth: "X-Api-Key", path: fixed("/v1/messages"), body: body,
		delta: func(ev map[string]any) (string, string, string) {
			d := at(ev, "delta")
			return str(d, "text"), str(d, "thinking"), str(d, "partial_json")
		},
		ended:  func(line string) bool { return strings.Contains(line, `"message_stop"`) },
		failed: func(line string) bool { return strings.Contains(line, `"overloaded_error"`) },
	}
}

func responsesClient() client {
	body := func(stream bool, turns []turn, tool bool) any {
		input := []any{}
		for _, t := range turns {
			kind, role := "input_text", "user"
			switch t.kind {
			case assistantTurn:
				kind, role = "output_text", "assistant"
			case toolTurn:
				input = append(input, map[string]any{"type": "function_call_output", "call_id": "x",
					"output": "Chunk ID: 1\nOutput:\n" + t.text})
				continue
			}
			input = append(input, map[string]any{"type": "message", "role": role,
				"content": []any{map[string]any{"type": kind, "text": t.text}}})
		}
		in := map[string]any{"model": "fake-model", "stream": stream, "input": input}
		if tool {
			in["tools"] = []any{map[string]any{"type": "function", "name": "exec_command",
				"parameters": map[string]any{"properties": map[string]any{"cmd": map[string]any{}}}}}
		}
		return in
	}
	return client{
		name: "responses", auth: "Authorization", path: fixed("/v1/responses"), body: body,
		delta: func(ev map[string]any) (text, thought, call string) {
			switch ev["type"] {
			case "response.output_text.delta":
				return str(ev, "delta"), "", ""
			case "response.reasoning_summary_text.delta":
				return "", str(ev, "delta"), ""
			case "response.function_call_arguments.delta":
				return "", "", str(ev, "delta")
			}
			return "", "", ""
		},
		ended:  func(line string) bool { return strings.Contains(line, `"response.completed"`) },
		failed: func(line string) bool { return strings.Contains(line, `"response.failed"`) },
	}
}

func chatClient() client {
	body := func(stream bool, turns []turn, tool bool) any {
		roles := map[turnKind]string{userTurn: "user", assistantTurn: "assistant", toolTurn: "tool"}
		messages := []any{map[string]any{"role": "system", "content": "SCN=e500 is not for you"}}
		for _, t := range turns {
			messages = append(messages, map[string]any{"role": roles[t.kind], "content": t.text})
		}
		in := map[string]any{"model": "fake-model", "stream": stream, "messages": messages}
		if tool {
			in["tools"] = []any{map[string]any{"type": "function",
				"function": map[string]any{"name": "bash", "parameters": shellSchema()}}}
		}
		return in
	}
	return client{
		name: "chat", auth: "Authorization", path: fixed("/v1/chat/completions"), body: body,
		delta: func(ev map[string]any) (string, string, string) {
			d := at(ev, "choices", 0, "delta")
			return str(d, "content"), str(d, "reasoning_content"), str(d, "tool_calls", 0, "function", "arguments")
		},
		ended:  func(line string) bool { return line == "[DONE]" },
		failed: func(line string) bool { return strings.Contains(line, `"server_error"`) },
	}
}

func geminiClient() client {
	body := func(_ bool, turns []turn, tool bool) any {
		contents := []any{}
		for _, t := range turns {
			role, part := "user", map[string]any{"text": t.text}
			switch t.kind {
			case assistantTurn:
				role = "model"
			case toolTurn:
				part = map[string]any{"functionResponse": map[string]any{"name": "run_shell_command",
					"response": map[string]any{"output": "Output: " + t.text}}}
			}
			contents = append(contents, map[string]any{"role": role, "parts": []any{part}})
		}
		in := map[string]any{"contents": contents}
		if tool {
			in["tools"] = []any{map[string]any{"functionDeclarations": []any{
				map[string]any{"name": "run_shell_command", "parametersJsonSchema": shellSchema()}}}}
		}
		return in
	}
	return client{
		name: "gemini", auth: "X-Goog-Api-Key", body: body,
		path: func(stream bool) string {
			if stream {
				return "/v1beta/models/fake-model:streamGenerateContent?alt=sse"
			}
			return "/v1beta/models/fake-model:generateContent"
		},
		delta: func(ev map[string]any) (text, thought, call string) {
			part := at(ev, "candidates", 0, "content", "parts", 0)
			if at(part, "thought") == true {
				return "", str(part, "text"), ""
			}
			return str(part, "text"), "", str(part, "functionCall", "args", "command")
		},
		ended:  func(line string) bool { return strings.Contains(line, `"finishReason":"STOP"`) },
		failed: func(line string) bool { return strings.Contains(line, `"UNAVAILABLE"`) },
	}
}

func jsonHas(t *testing.T, line, field string) bool {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		t.Fatalf("event %q: %v", line, err)
	}
	_, ok := m[field]
	return ok
}
