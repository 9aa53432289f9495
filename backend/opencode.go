package backend

// newOpencode is opencode (1.18.33) as an ACP agent; `opencode run` has no text
// deltas. The environment keeps it from asking the network for updates, models
// and plugins at its start; configured providers are not touched. A turn can be
// resumed after a SIGKILL at its result line (measured), so it is ended at once.
func newOpencode(c Config) Backend {
	return acpBackend{c, acpProfile{
		argv: []string{"acp"},
		set: map[string]string{
			"OPENCODE_DISABLE_AUTOUPDATE":      "1",
			"OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
			"OPENCODE_DISABLE_LSP_DOWNLOAD":    "1",
			"OPENCODE_DISABLE_MODELS_FETCH":    "1",
			"OPENCODE_DISABLE_SHARE":           "1",
			"OPENCODE_PURE":                    "1",
		},
		pass: []string{
			"ANTHROPIC_API_KEY", "DEEPSEEK_API_KEY", "GEMINI_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY",
			"GROQ_API_KEY", "MISTRAL_API_KEY", "OPENAI_API_KEY", "OPENCODE_API_KEY", "OPENROUTER_API_KEY", "XAI_API_KEY",
		},
		modes:  map[string]string{"plan": "plan"},
		verify: true,
		lists:  true,
		script: bunPreload,
		// Its own limits, which nothing sets, are five and more, in over a minute.
		refusals: 1,
		breaks:   3,
	}}
}
