package backend

import "strings"

// notACommand keeps a prompt from being taken for a command of the CLI's, or of
// the user's own making: for claude (2.1.252 to 2.1.332) and gemini (0.61.0) a
// slash counts only as the very first byte, and the model sees the line feed.
func notACommand(text string) string {
	if strings.HasPrefix(text, "/") {
		return "\n" + text
	}
	return text
}

// plainPrompt keeps a text from being taken for a command: an agent takes one
// that begins with a slash (after white space: opencode 1.18.33) for a command
// of its own, runs it, or swallows it without a word; pi (0.87.1, 1.6.0) takes white
// space away, and puts a template of the user's in its place. A text is all that a
// client of ours can mean, so such a one goes between two marks.
func plainPrompt(text string) string {
	if !strings.HasPrefix(strings.TrimSpace(text), "/") {
		return text
	}
	return "<message>\n" + text + "\n</message>"
}
