package server

import (
	"slices"
	"strings"
)

// effortWords are what a program of our own protocol may be asked for: every
// word one of the known CLIs has.
var effortWords = []string{"none", "off", "minimal", "low", "medium", "high", "xhigh", "max"}

// effort refuses a word the backend does not know, naming those it takes. The
// adapter is the one who knows: a command for the word alone is asked of it.
func (a *agent) effort(word string) error {
	if word == "" {
		return nil
	}
	if k := a.config.Kind; (k == "jsonl" || k == "demo") && !slices.Contains(effortWords, word) {
		return badRequest("effort", "effort %q: use one of %s", clip(word, 40), strings.Join(effortWords, ", "))
	}
	r := trial
	r.Effort = word
	if _, err := a.adapter.Command(r); err != nil {
		return badRequest("effort", "backend %s: %s", a.config.Name, err)
	}
	return nil
}
