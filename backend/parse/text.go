package parse

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"penstock/backend"
)

// Bound cuts s to at most max bytes, at the start of a code point, and marks the cut.
func Bound(s string, max int) string {
	const mark = "…"
	if len(s) <= max {
		return s
	}
	end := max - len(mark)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	// A copy, so that a short excerpt does not keep a line of megabytes alive.
	return string(append([]byte(s[:end]), mark...))
}

// RawText is a JSON value as a person reads it: a string's content, else the
// JSON itself; bounded by ToolTextMax.
func RawText(raw []byte) string {
	if s, ok := Unquoted(raw); ok {
		return Bound(s, backend.ToolTextMax)
	}
	if string(raw) == "null" {
		return ""
	}
	if len(raw) > backend.ToolTextMax {
		raw = raw[:backend.ToolTextMax+utf8.UTFMax]
	}
	return Bound(string(raw), backend.ToolTextMax)
}

func Unquoted(raw []byte) (string, bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", false
	}
	return s, true
}

// LastLine is the last line of s with anything in it.
func LastLine(s string) string {
	s = strings.TrimSpace(s)
	return strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
}

// NoticeMax bounds the text of a Notice, in bytes.
const NoticeMax = 4 << 10

// StrayLine is a line that is not the CLI's protocol: a warning that a library
// printed, or a line cut short by the CLI's death. Never part of the answer.
func StrayLine(line []byte) backend.Event {
	if len(line) > NoticeMax {
		line = line[:NoticeMax]
	}
	return backend.Event{Kind: backend.Notice, Text: Bound(Clean(line), NoticeMax)}
}

// Decode reads one JSON object into v and is false when line is none. A field
// of another type than expected is left out and the rest still counts: a new
// version of a CLI that changes one figure must not silence its text.
func Decode(line []byte, v any) bool {
	err := json.Unmarshal(line, v)
	if err == nil {
		return true
	}
	var mismatch *json.UnmarshalTypeError
	return errors.As(err, &mismatch) && mismatch.Field != ""
}

// Clean replaces each byte that is not UTF-8 by U+FFFD.
func Clean(data []byte) string {
	if utf8.Valid(data) {
		return string(data)
	}
	return string([]rune(string(data)))
}

func Blank(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }

// ContentText is the text of a tool's result: a string, or blocks of which the
// text ones count. Bounded by ToolTextMax.
func ContentText(raw json.RawMessage) string {
	var blocks []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(raw, &blocks) != nil {
		return RawText(raw)
	}
	var text strings.Builder
	for _, b := range blocks {
		text.WriteString(b.Text)
		if text.Len() > backend.ToolTextMax {
			break
		}
	}
	return Bound(text.String(), backend.ToolTextMax)
}

// ToolNames remembers what the tool uses that have no result yet are called.
type ToolNames map[string]string

// ToolNamesMax bounds how many; a result of a forgotten one is called "tool".
const ToolNamesMax = 256

func (t *ToolNames) Put(id, name string) {
	if *t == nil {
		*t = ToolNames{}
	}
	if len(*t) < ToolNamesMax {
		(*t)[id] = name
	}
}

func (t *ToolNames) Take(id string) string {
	name, ok := (*t)[id]
	delete(*t, id)
	if !ok {
		return "tool"
	}
	return name
}
