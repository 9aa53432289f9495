package backend

import (
	"fmt"
	"slices"
	"strings"
)

// argument refuses a client's word that a CLI would take for an option of its
// own, or that can't be in an argv at all.
func argument(what, value string) error {
	if strings.HasPrefix(value, "-") || strings.ContainsAny(value, "\x00\n") {
		return fmt.Errorf("%s %q: must not begin with a dash nor hold a line feed or NUL", what, value)
	}
	return nil
}

// level is the CLI's own word for an effort; "minimal" is the lowest one of a
// CLI that has no such level.
func level(effort string, known ...string) (string, error) {
	if effort == "minimal" && !slices.Contains(known, effort) {
		effort = "low"
	}
	if !slices.Contains(known, effort) {
		return "", fmt.Errorf("effort %q: use one of %s", effort, strings.Join(known, ", "))
	}
	return effort, nil
}
