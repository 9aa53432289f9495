package backend

import "strings"

// plainPrompt keeps a text from being taken for a command: an agent takes one
// that begins with a slash (after white space: opencode 1.18.33) for a command
// of its own, runs it, or swallows it without a word. A text is all that a
// client of ours can mean, so such a one goes between two marks.
func plainPrompt(text string) string {
	if !strings.HasPrefix(strings.TrimSpace(text), "/") {
		return text
	}
	return "<message>\n" + text + "\n</message>"
}
