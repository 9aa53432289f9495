package backend

import (
	"slices"
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

// An option that an old claude doesn't know ends it: it is passed only where it
// is needed, and known to be there or not known to be missing.
func TestClaudeOptionsByVersion(t *testing.T) {
	const snapshot, prompts = "--system-prompt-snapshot=off", "--permission-prompts=none"
	for _, row := range []struct {
		version           string
		session           string
		snapshot, prompts bool
	}{
		{"", "", false, true}, {"", "s", true, true},
		{"2.1.252 (Claude Code)", "s", false, false}, {"2.1.257 (Claude Code)", "s", true, false}, {"2.1.259 (Claude Code)", "", false, true},
	} {
		argv := commandOf(t, Config{Kind: "claude"}, Request{Version: row.version, Session: row.session, System: "be brief", Permissions: "plan"}).Argv
		if slices.Contains(argv, snapshot) != row.snapshot || slices.Contains(argv, prompts) != row.prompts {
			t.Errorf("%q, session %q: %q", row.version, row.session, argv)
		}
	}
}
