package backend

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// NotACommand keeps a prompt from being taken for a command of the CLI's, or of
// the user's own making: for claude (2.1.252 to 2.1.332) and gemini (0.61.0) a
// slash counts only as the very first byte, and the model sees the line feed.
func NotACommand(text string) string {
	if strings.HasPrefix(text, "/") {
		return "\n" + text
	}
	return text
}

// PlainPrompt keeps a text from being taken for a command: an agent takes one
// that begins with a slash (after white space: opencode 1.18.33) for a command
// of its own, runs it, or swallows it without a word; pi (0.87.1, 1.6.0) takes white
// space away, and puts a template of the user's in its place. A text is all that a
// client of ours can mean, so such a one goes between two marks. More are the other
// beginnings that a CLI has for its commands.
func PlainPrompt(text string, more ...string) string {
	// JavaScript's trim takes a byte order mark, too.
	trimmed := strings.TrimLeftFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' })
	begins := func(mark string) bool { return strings.HasPrefix(trimmed, mark) }
	if !begins("/") && !slices.ContainsFunc(more, begins) {
		return text
	}
	return "<message>\n" + text + "\n</message>"
}

// CheckArgument refuses a client's word that a CLI would take for an option of its
// own, or that can't be in an argv at all.
func CheckArgument(what, value string) error {
	if strings.HasPrefix(value, "-") || strings.ContainsAny(value, "\x00\n") {
		return fmt.Errorf("%s %q: must not begin with a dash nor hold a line feed or NUL", what, value)
	}
	return nil
}

// EffortLevel is the CLI's own word for an effort; "minimal" is the lowest one of a
// CLI that has no such level.
func EffortLevel(effort string, known ...string) (string, error) {
	if effort == "minimal" && !slices.Contains(known, effort) {
		effort = "low"
	}
	if !slices.Contains(known, effort) {
		return "", fmt.Errorf("effort %q: use one of %s", effort, strings.Join(known, ", "))
	}
	return effort, nil
}

// PromptWithSystem is the prompt for a CLI without a system option.
func PromptWithSystem(r Request) []byte {
	if r.System == "" {
		return []byte(r.Prompt)
	}
	return []byte(r.System + "\n\n" + r.Prompt)
}

// Environment lays the operator's set_env over a backend's own settings, and
// adds his names to the backend's.
func (c Config) Environment(set map[string]string, pass ...string) (map[string]string, []string) {
	merged := make(map[string]string, len(set)+len(c.SetEnv))
	for name, value := range set {
		merged[name] = value
	}
	for name, value := range c.SetEnv {
		merged[name] = value
	}
	return merged, slices.Concat(pass, c.Env)
}

// PermissionMode is the mode of r, else the configured one, else "bypass": there
// is no person to answer a prompt.
func (c Config) PermissionMode(r Request) string {
	switch {
	case r.Permissions != "":
		return r.Permissions
	case c.Permissions != "":
		return c.Permissions
	}
	return "bypass"
}
