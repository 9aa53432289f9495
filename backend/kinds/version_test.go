package kinds

import (
	"slices"
	"testing"

	"penstock/backend"
)

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
		argv := commandOf(t, backend.Config{Kind: "claude"}, backend.Request{Version: row.version, Session: row.session, System: "be brief", Permissions: "plan"}).Argv
		if slices.Contains(argv, snapshot) != row.snapshot || slices.Contains(argv, prompts) != row.prompts {
			t.Errorf("%q, session %q: %q", row.version, row.session, argv)
		}
	}
}
