package clis

// Env is the environment that all CLIs need beside HOME, TMPDIR and PATH. It has
// no effect on the CLIs it is not meant for, so one map serves all. modelURL has
// no trailing slash.
func Env(modelURL string) map[string]string {
	return map[string]string{
		"TERM": "dumb",

		// claude; IS_SANDBOX lets root bypass permissions.
		"ANTHROPIC_BASE_URL":                       modelURL,
		"ANTHROPIC_API_KEY":                        "fake",
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
		"DISABLE_AUTOUPDATER":                      "1",
		"IS_SANDBOX":                               "1",

		// codex, opencode, pi
		"FAKE_API_KEY": "fake",

		"OPENCODE_DISABLE_AUTOUPDATE":      "1",
		"OPENCODE_DISABLE_MODELS_FETCH":    "1",
		"OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
		"OPENCODE_DISABLE_LSP_DOWNLOAD":    "1",
		"OPENCODE_DISABLE_SHARE":           "1",
		"OPENCODE_PURE":                    "1",

		"PI_OFFLINE":   "1",
		"PI_TELEMETRY": "0",

		// gemini; without NO_RELAUNCH a parent is left that ignores SIGTERM.
		"GOOGLE_GEMINI_BASE_URL": modelURL,
		"GEMINI_API_KEY":         "fake",
		"GEMINI_CLI_NO_RELAUNCH": "1",

		"KIMI_CODE_NO_AUTO_UPDATE": "1",
		"KIMI_DISABLE_TELEMETRY":   "1",
	}
}

// FailFast is the environment that makes CLIs report a model error at once
// instead of trying again for minutes. Seed writes the same for those that take
// it from their configuration only.
func FailFast() map[string]string {
	return map[string]string{
		"CLAUDE_CODE_MAX_RETRIES":                   "0",
		"CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
		"KIMI_LOOP_MAX_RETRIES_PER_STEP":            "1",
		"KIMI_LOOP_MAX_ATTEMPTS_PER_STEP":           "1",
	}
}
