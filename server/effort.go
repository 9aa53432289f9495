package server

import (
	"slices"
	"strings"

	"penstock/server/web"
)

// effortNone is OpenAI's word for as little thinking as there can be.
const effortNone = "none"

// effortWords are what a program of our own protocol may be asked for: every
// word one of the known CLIs has.
var effortWords = []string{effortNone, "off", "minimal", "low", "medium", "high", "xhigh", "max"}

// effort refuses a word the backend does not know, naming those it takes. The
// adapter is the one who knows: a command for the word alone is asked of it.
func (a *configuredBackend) effort(word string) error {
	if word == "" {
		return nil
	}
	if k := a.config.Kind; (k == "jsonl" || k == "demo") && !slices.Contains(effortWords, word) {
		return web.BadRequest("effort", "effort %q: use one of %s", web.Clip(word, 40), strings.Join(effortWords, ", "))
	}
	r := probeRequest
	r.Effort = word
	if _, err := a.adapter.Command(r); err != nil {
		return web.BadRequest("effort", "backend %s: %s", a.config.Name, err)
	}
	return nil
}

// effortWord is the backend's own word for the effort asked for. For none, which
// asks for nothing that could be missed, it may be "".
func (a *configuredBackend) effortWord(asked string) (string, error) {
	err := a.effort(asked)
	if err == nil || asked != effortNone {
		return asked, err
	}
	if a.effort("off") == nil {
		return "off", nil
	}
	return "", nil
}
