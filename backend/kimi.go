package backend

import "regexp"

// kimiChatter is what kimi says of a compaction, each in a chunk of its own.
var kimiChatter = regexp.MustCompile(`^(?:Compacting conversation context(?:…| with instruction: (?s:.*))` +
	`|Compaction completed\.\n- Messages compacted: [\d,]+\n- Tokens before: [\d,]+\n- Tokens after: [\d,]+` +
	`|Compaction cancelled\.|Compaction is blocked by the current turn; retry when the turn is idle\.)$`)

// newKimi is Kimi Code (@moonshot-ai/kimi-code 2.1.0) as an ACP agent; its print
// mode takes the prompt in argv only.
//
// One attempt for each model call: a second one would send its text after the
// broken first's, with nothing between. The session is on disk a moment after
// the result only: SIGKILL or SIGTERM at that line loses the turn without a
// word, at the answer of a session/close (some 20 ms later) nothing is lost
// (measured). That is far sooner than its own exit, which waits for telemetry.
func newKimi(c Config) Backend {
	return acpBackend{c, acpProfile{
		argv: []string{"acp"},
		set: map[string]string{
			"KIMI_CODE_NO_AUTO_UPDATE":        "1",
			"KIMI_DISABLE_TELEMETRY":          "1",
			"KIMI_LOOP_MAX_ATTEMPTS_PER_STEP": "1",
			"KIMI_LOOP_MAX_RETRIES_PER_STEP":  "1",
		},
		pass:    []string{"KIMI_API_KEY", "KIMI_BASE_URL", "KIMI_CODE_BASE_URL", "KIMI_MODEL_*", "MOONSHOT_API_KEY"},
		modes:   map[string]string{"bypass": "yolo", "plan": "plan"},
		tally:   true,
		chatter: kimiChatter,
		close:   true,
		script:  nodeRequire,
	}}
}
