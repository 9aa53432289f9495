package clis

import (
	"fmt"
	"os"
	"path/filepath"
)

// Seed writes the configuration of all CLIs into the directory home: the model
// server at modelURL, updates and telemetry off, no retries of model errors.
// Existing files are replaced.
func Seed(home, modelURL string) error { return seed(home, modelURL, false) }

// SeedRetrying is Seed with the CLIs' own retries left on, for tests of text
// that a retry makes void.
func SeedRetrying(home, modelURL string) error { return seed(home, modelURL, true) }

func seed(home, modelURL string, retry bool) error {
	openai := modelURL + "/v1"
	files := map[string]string{
		".codex/config.toml":             codexConfig(openai, retry),
		".config/opencode/opencode.json": opencodeConfig(openai),
		".gemini/settings.json":          geminiConfig(retry),
		".pi/agent/models.json":          piModels(openai),
		".pi/agent/settings.json":        fmt.Sprintf(`{"retry":{"enabled":%t}}`, retry),
		".kimi-code/config.toml":         kimiConfig(openai),
	}
	for name, text := range files {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("seed: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return fmt.Errorf("seed: %w", err)
		}
	}
	return nil
}

func codexConfig(baseURL string, retry bool) string {
	retries := ""
	if !retry {
		retries = "request_max_retries = 0\nstream_max_retries = 0\n"
	}
	return fmt.Sprintf(`model = "fake-model"
model_provider = "fake"
check_for_update_on_startup = false

[model_providers.fake]
name = "fake"
base_url = %q
env_key = "FAKE_API_KEY"
wire_api = "responses"
%s
[analytics]
enabled = false

[features]
plugins = false
apps = false
remote_plugin = false

[shell_environment_policy]
ignore_default_excludes = false
`, baseURL, retries)
}

// The second model can't see. The title agent would send one more model request for every new session.
func opencodeConfig(baseURL string) string {
	return fmt.Sprintf(`{
  "autoupdate": false,
  "share": "disabled",
  "permission": "allow",
  "model": "fake/fake-model",
  "small_model": "fake/fake-model",
  "enabled_providers": ["fake"],
  "agent": {"title": {"disable": true}},
  "provider": {"fake": {
    "npm": "@ai-sdk/openai-compatible",
    "name": "Fake",
    "options": {"baseURL": %q, "apiKey": "{env:FAKE_API_KEY}"},
    "models": {
      "fake-model": {"name": "Fake", "modalities": {"input": ["text", "image"], "output": ["text"]}, "limit": {"context": 100000, "output": 4096}},
      "blind": {"name": "Blind", "limit": {"context": 100000, "output": 4096}}
    }
  }}
}
`, baseURL)
}

func geminiConfig(retry bool) string {
	attempts := ""
	if !retry {
		attempts = `, "maxAttempts": 1, "retryFetchErrors": false`
	}
	return fmt.Sprintf(`{
  "security": {"auth": {"selectedType": "gemini-api-key"}},
  "privacy": {"usageStatisticsEnabled": false},
  "telemetry": {"enabled": false},
  "general": {"enableAutoUpdate": false, "enableAutoUpdateNotification": false%s}
}
`, attempts)
}

// The second model can't see: pi has no other way of saying so.
func piModels(baseURL string) string {
	return fmt.Sprintf(`{"providers": {"fake": {
  "baseUrl": %q,
  "apiKey": "$FAKE_API_KEY",
  "api": "openai-completions",
  "models": [%s, %s]
}}}
`, baseURL, piModel("fake-model", `"text", "image"`), piModel("blind", `"text"`))
}

func piModel(id, input string) string {
	return fmt.Sprintf(`{
    "id": %q, "name": "Fake", "reasoning": false, "input": [%s],
    "contextWindow": 100000, "maxTokens": 4096,
    "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}
  }`, id, input)
}

func kimiConfig(baseURL string) string {
	return fmt.Sprintf(`default_model = "fake"

[providers.fake]
type = "openai"
base_url = %q
api_key = "fake"

[models.fake]
provider = "fake"
model = "fake-model"
max_context_size = 100000
`, baseURL)
}
