package backend

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// bound cuts s to at most max bytes, at the start of a code point, and marks the cut.
func bound(s string, max int) string {
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

// rawText is a JSON value as a person reads it: a string's content, else the
// JSON itself; bounded by ToolTextMax.
func rawText(raw []byte) string {
	if s, ok := unquoted(raw); ok {
		return bound(s, ToolTextMax)
	}
	if string(raw) == "null" {
		return ""
	}
	if len(raw) > ToolTextMax {
		raw = raw[:ToolTextMax+utf8.UTFMax]
	}
	return bound(string(raw), ToolTextMax)
}

func unquoted(raw []byte) (string, bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", false
	}
	return s, true
}

// lastLine is the last line of s with anything in it.
func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
}

// noticeMax bounds the text of a Notice, in bytes.
const noticeMax = 4 << 10

// strayLine is a line that is not the CLI's protocol: a warning that a library
// printed, or a line cut short by the CLI's death. Never part of the answer.
func strayLine(line []byte) Event {
	if len(line) > noticeMax {
		line = line[:noticeMax]
	}
	return Event{Kind: Notice, Text: bound(clean(line), noticeMax)}
}
