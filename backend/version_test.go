package backend

import (
	"testing"
)

func TestOlder(t *testing.T) {
	for _, row := range []struct {
		version, than string
		want          bool
	}{
		{"2.1.252 (Claude Code)", "2.1.257", true}, {"2.1.257 (Claude Code)", "2.1.257", false}, {"2.1.332 (Claude Code)", "2.1.257", false},
		{"codex-cli 0.99.0", "0.150.0", true}, {"codex-cli 1.0", "0.150.0", false}, {"1.2", "1.2.1", true}, {"1.2.0", "1.2", false},
		{"", "1.0", false}, {"no version here", "1.0", false}, {"1.0", "", false}, {"99999999999999999999.1", "2.0", false},
	} {
		if got := Older(row.version, row.than); got != row.want {
			t.Errorf("%q older than %q: %v", row.version, row.than, got)
		}
	}
}
