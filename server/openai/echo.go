package openai

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"

	"penstock/server/dialect"
	"penstock/server/web"
)

// What of a request is too long for the room that an echo has is left out: each stream and
// each record of a run holds one.
const (
	echoInstructions = 4 << 10 // bytes as JSON
	echoMetadata     = 3 << 9
	echoFormat       = 1 << 10
	echoWord         = 128
)

// echo is what a response says again of its request. What has no effect isn't repeated as if it
// had: a temperature, say.
type echo struct {
	Background        bool            `json:"background"`
	Instructions      *string         `json:"instructions"`
	Metadata          json.RawMessage `json:"metadata"`
	ParallelToolCalls bool            `json:"parallel_tool_calls"`
	Previous          *string         `json:"previous_response_id"`
	PromptCacheKey    *string         `json:"prompt_cache_key,omitempty"`
	Reasoning         echoReasoning   `json:"reasoning"`
	SafetyIdentifier  *string         `json:"safety_identifier,omitempty"`
	Store             bool            `json:"store"`
	Text              echoText        `json:"text"`
	ToolChoice        string          `json:"tool_choice"`
	Truncation        string          `json:"truncation"`
	User              *string         `json:"user,omitempty"`
}

type echoReasoning struct {
	Effort  *string `json:"effort"`
	Summary *string `json:"summary"`
}

type echoText struct {
	Format json.RawMessage `json:"format"`
}

// newEcho is that of a request that says nothing.
func newEcho() echo {
	return echo{
		Metadata: json.RawMessage(`{}`), ParallelToolCalls: true, Store: true,
		Text: echoText{Format: json.RawMessage(`{"type":"text"}`)}, ToolChoice: "auto", Truncation: "disabled",
	}
}

// decodeEcho takes what keepEcho made; a run that was asked for in another dialect has none.
func decodeEcho(raw json.RawMessage) echo {
	e := newEcho()
	if len(raw) > 0 && json.Unmarshal(raw, &e) != nil {
		return newEcho()
	}
	return e
}

// systemHash is of the text that Prompt makes of them; "" of none.
func systemHash(messages []dialect.Message) string {
	hash, between := sha256.New(), ""
	for _, m := range messages {
		if m.Role != dialect.System {
			continue
		}
		for _, text := range []string{between, m.Text} {
			_, _ = io.WriteString(hash, text) // a hash takes all
		}
		between = "\n\n"
	}
	if between == "" {
		return ""
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// short is a text, or nil where it is empty or, as JSON, over most bytes.
func short(text string, most int) *string {
	if text == "" || len(text) > most {
		return nil
	}
	if b, err := web.Marshal(text); err != nil || len(b) > most {
		return nil
	}
	return &text
}

// echo is the format without its schema where that is long.
func (o format) echo() json.RawMessage {
	type kept struct {
		Type   string          `json:"type"`
		Name   string          `json:"name,omitempty"`
		Strict *bool           `json:"strict,omitempty"`
		Schema json.RawMessage `json:"schema,omitempty"`
	}
	e := kept{Type: o.kind}
	if o.kind == "json_schema" {
		_ = o.Into("name", "", &e.Name, "") // decoded before, without an error
		_ = o.Into("strict", "", &e.Strict, "")
		if len(e.Name) > echoWord {
			e.Name = ""
		}
		e.Schema = json.RawMessage(`{}`)
		if len(o.Fields["schema"]) <= echoFormat {
			e.Schema = o.Fields["schema"]
		}
	}
	text, err := web.Marshal(e)
	if err != nil {
		return json.RawMessage(`{"type":"text"}`)
	}
	return text
}
