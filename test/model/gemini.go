package model

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// gemini is generateContent of the Gemini API; streams are always SSE.
type gemini struct{}

func (gemini) decode(r *http.Request, body []byte) (conversation, error) {
	var in struct {
		Contents []struct {
			Role  string
			Parts []struct {
				Text     *string
				Inline   *geminiData `json:"inlineData"`
				Response *struct {
					Response json.RawMessage
					Parts    []struct {
						Inline *geminiData `json:"inlineData"`
					}
				} `json:"functionResponse"`
			}
		}
		Tools []struct {
			Functions []struct {
				Name       string
				Parameters schema
				JSONSchema schema `json:"parametersJsonSchema"`
			} `json:"functionDeclarations"`
		}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return conversation{}, fmt.Errorf("generate content: %w", err)
	}
	model, method, _ := strings.Cut(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], ":")
	c := conversation{model: model, stream: method == "streamGenerateContent"}
	for _, m := range in.Contents {
		for _, part := range m.Parts {
			switch {
			case part.Response != nil:
				c.add(toolTurn, geminiOutput(part.Response.Response))
				for _, p := range part.Response.Parts {
					c.turns = append(c.turns, p.Inline.turns()...)
				}
			case part.Inline != nil:
				c.turns = append(c.turns, part.Inline.turns()...)
			case part.Text != nil && m.Role == "model":
				c.add(assistantTurn, *part.Text)
			case part.Text != nil:
				c.add(userTurn, *part.Text)
			}
		}
	}
	for _, t := range in.Tools {
		for _, f := range t.Functions {
			c.tools = append(c.tools, tool{f.Name, append(f.Parameters.names(), f.JSONSchema.names()...)})
		}
	}
	return c, nil
}

// geminiData is a picture, or a document, in a request.
type geminiData struct {
	Type string `json:"mimeType"`
	Data string
}

func (d *geminiData) turns() []turn {
	if d == nil {
		return nil
	}
	return []turn{imageOf(d.Type, d.Data)}
}

// geminiOutput is the text of a functionResponse: its output or error field.
func geminiOutput(raw json.RawMessage) string {
	var r struct{ Output, Error string }
	if json.Unmarshal(raw, &r) == nil && r.Output+r.Error != "" {
		return r.Output + r.Error
	}
	return string(raw)
}

func (gemini) chunk(c conversation, finish string, parts ...any) map[string]any {
	candidate := map[string]any{"index": 0, "content": map[string]any{"role": "model", "parts": parts}}
	if finish != "" {
		candidate["finishReason"] = finish
	}
	return map[string]any{
		"candidates": []any{candidate}, "modelVersion": c.model, "responseId": newID(""),
		"usageMetadata": map[string]any{
			"promptTokenCount": inputTokens, "cachedContentTokenCount": cachedTokens,
			"candidatesTokenCount": outputTokens, "totalTokenCount": inputTokens + outputTokens,
		},
	}
}

func geminiText(text string) any    { return map[string]any{"text": text} }
func geminiThought(text string) any { return map[string]any{"text": text, "thought": true} }

func geminiCall(name, args string) any {
	return map[string]any{"functionCall": map[string]any{
		"id": newID("call_"), "name": name, "args": json.RawMessage(args)}}
}

func (p gemini) whole(c conversation, a reply) any {
	parts := []any{}
	if a.thought != "" {
		parts = append(parts, geminiThought(a.thought))
	}
	if a.text != "" {
		parts = append(parts, geminiText(a.text))
	}
	if a.callName != "" {
		parts = append(parts, geminiCall(a.callName, a.callArgs))
	}
	return p.chunk(c, a.ending.word("STOP", "MAX_TOKENS", "SAFETY"), parts...)
}

func (gemini) failure(status int, message string) any {
	name := map[int]string{
		400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
		429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE", 529: "UNAVAILABLE",
	}[status]
	e := map[string]any{"code": status, "message": message, "status": name}
	if status == http.StatusTooManyRequests {
		e["details"] = []any{map[string]any{
			"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}}
	}
	return map[string]any{"error": e}
}

func (gemini) breakBy() string { return "event" }

func (gemini) stream(out *events, c conversation) wire { return &geminiWire{out: out, c: c} }

type geminiWire struct {
	out  *events
	c    conversation
	said bool
}

func (w *geminiWire) part(part any) {
	w.said = true
	w.out.data(gemini{}.chunk(w.c, "", part))
}

func (w *geminiWire) think(delta string) { w.part(geminiThought(delta)) }
func (w *geminiWire) text(delta string)  { w.part(geminiText(delta)) }

func (w *geminiWire) call(name, args string) { w.part(geminiCall(name, args)) }

func (w *geminiWire) finish(how ending) {
	if how == refused && !w.said {
		w.out.data(map[string]any{"promptFeedback": map[string]any{"blockReason": "SAFETY"}, "modelVersion": w.c.model,
			"usageMetadata": map[string]any{"promptTokenCount": inputTokens, "totalTokenCount": inputTokens}})
		return
	}
	w.out.data(gemini{}.chunk(w.c, how.word("STOP", "MAX_TOKENS", "SAFETY"), geminiText("")))
}

func (w *geminiWire) fail(_ int, message string) {
	w.out.data(gemini{}.failure(http.StatusServiceUnavailable, message))
}
