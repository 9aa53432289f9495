package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"penstock/test/daemon"
)

// pyEvent is what the decoder of the Python SDKs hands on.
type pyEvent struct{ name, id, data string }

// pyEvents decodes a stream as the SDKs of OpenAI and Anthropic for Python do, by their
// published behaviour: an id that any event had is never forgotten, and from then on each
// blank line is the end of an event, be there data or not.
func pyEvents(stream string) []pyEvent {
	var all []pyEvent
	var e pyEvent
	var data []string
	for line := range strings.Lines(stream) {
		line = strings.TrimRight(line, "\r\n")
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "" && (e.name != "" || e.id != "" || len(data) > 0):
			e.data = strings.Join(data, "\n")
			all = append(all, e)
			e.name, data = "", nil
		case field == "event":
			e.name = value
		case field == "data":
			data = append(data, value)
		case field == "id" && !strings.Contains(value, "\x00"):
			e.id = value
		}
	}
	return all
}

// pyRead is what the SDK of the dialect gives an application of the stream: its text, the type
// of its last event, and the failure that it raises. OpenAI's takes every event's data for JSON and
// raises where that has an error; Anthropic's goes by the events' names.
func pyRead(dialect, stream string) (text, last, failed string, err error) {
	for _, e := range pyEvents(stream) {
		if dialect != "messages" && strings.HasPrefix(e.data, "[DONE]") {
			return text, e.data, failed, nil
		}
		var data struct {
			Type  string
			Delta json.RawMessage
			Error *struct {
				Type, Message string
				XCause        string `json:"x_cause"`
				Code          string
			}
			Choices []struct{ Delta struct{ Content string } }
		}
		if dialect == "messages" && e.name == "ping" {
			continue
		}
		if err := json.Unmarshal([]byte(e.data), &data); err != nil {
			return text, last, failed, fmt.Errorf("event %q: %w: %.200q", e.name, err, e.data)
		}
		if dialect != "chat" && e.name != data.Type {
			return text, last, failed, fmt.Errorf("event %q has type %q", e.name, data.Type)
		}
		last = e.name
		if data.Error != nil {
			return text, last, data.Error.XCause + data.Error.Code, nil
		}
		var delta struct{ Type, Text string }
		switch {
		case dialect == "chat" && len(data.Choices) > 0:
			text += data.Choices[0].Delta.Content
		case data.Type == "response.output_text.delta":
			var piece string
			_ = json.Unmarshal(data.Delta, &piece)
			text += piece
		case data.Type == "content_block_delta" && json.Unmarshal(data.Delta, &delta) == nil:
			text += delta.Text
		}
	}
	return text, last, failed, nil
}

// The Python SDKs' decoder takes the streams of every dialect: with keep-alives, with and
// without ids, from the start and again, with a failure at their end.
func TestPythonDecoder(t *testing.T) {
	t.Parallel() // it waits for a keep-alive
	d := daemon.Start(t, daemon.Options{})
	ends := map[string]string{"chat": "[DONE]", "responses": "response.completed", "messages": "message_stop"}
	bodies := map[string]func(prompt string) (path string, body map[string]any){
		"chat": func(prompt string) (string, map[string]any) {
			return "/v1/chat/completions", daemon.Body("demo", prompt, map[string]any{"stream": true})
		},
		"responses": func(prompt string) (string, map[string]any) {
			return "/v1/responses", map[string]any{"model": "demo", "stream": true, "input": prompt}
		},
		"messages": func(prompt string) (string, map[string]any) {
			return "/v1/messages", daemon.Body("demo", prompt, map[string]any{"stream": true, "max_tokens": 100})
		},
	}
	for _, leader := range leaders() {
		dialect := leader.dialect
		for _, id := range []string{"", "framing-" + dialect} {
			t.Run(fmt.Sprintf("%s/id=%s", dialect, id), func(t *testing.T) {
				t.Parallel()
				path, body := bodies[dialect]("one two /sleep 9 three")
				for range 1 + min(len(id), 1) { // again: a replay
					raw := streamOf(t, d, path, id, body)
					text, last, failed, err := pyRead(dialect, raw)
					if err != nil || failed != "" || last != ends[dialect] || strings.TrimSpace(text) != "one two three" {
						t.Errorf("%v: text %q, last %q, failure %q of %.2000q", err, text, last, failed, raw)
					}
					if beats := strings.Count(raw, "\n: ") + strings.Count(raw, "event: ping"); beats == 0 && id == "" {
						t.Errorf("no keep-alive in %.2000q", raw)
					}
				}
			})
			t.Run(fmt.Sprintf("%s/id=%s/failed", dialect, id), func(t *testing.T) {
				path, body := bodies[dialect]("one /exit 3")
				raw := streamOf(t, d, path, strings.Replace(id, "framing", "failing", 1), body)
				text, _, failed, err := pyRead(dialect, raw)
				if err != nil || !strings.Contains(failed, "cli_error") || strings.TrimSpace(text) != "one" {
					t.Errorf("%v: text %q, failure %q of %.2000q", err, text, failed, raw)
				}
			})
		}
	}
}

// streamOf is the whole body of a streamed answer.
func streamOf(t *testing.T, d *daemon.Daemon, path, id string, body map[string]any) string {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(bounded(t, long), http.MethodPost, d.URL+path, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if id != "" {
		req.Header.Set("X-Run-Id", id)
	}
	resp, err := (&http.Client{Transport: daemon.Transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v: %s", resp.Status, err, text)
	}
	return string(text)
}
