package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/test/daemon"
)

// A session that the CLI has forgotten is started anew, with the conversation the
// client sent, and says so; the turn after that resumes the new one.
func TestForgottenSession(t *testing.T) {
	w := begin(t, "")
	for _, cli := range three() {
		t.Run(cli, func(t *testing.T) {
			word := "blue-" + cli + "-42"
			ask := func(messages ...map[string]any) *daemon.Answer {
				t.Helper()
				body := daemon.Body(cli, "", map[string]any{"session_id": "forgotten-" + cli, "stream": true, "messages": messages})
				a, err := w.Chat(bounded(t, long), body, nil)
				if err != nil || a.Error != nil {
					t.Fatalf("%v %+v", err, a.Error)
				}
				return a
			}
			told := map[string]any{"role": "user", "content": "SCN=text REMEMBER{{" + word + "}}"}
			first := ask(told)
			forget(t, w.Home, cli)
			second := ask(told, map[string]any{"role": "assistant", "content": first.Text}, map[string]any{"role": "user", "content": "SCN=text RECALL"})
			if !strings.Contains(second.Text, word) || !strings.Contains(strings.Join(second.Comments, " "), "started anew") {
				t.Errorf("text %q, comments %q", second.Text, second.Comments)
			}
			if code, record, err := w.Get("/v1/runs/" + second.Run); err != nil || code != 200 || record["session_restarted"] != true {
				t.Errorf("record: %d %v %v", code, record, err)
			}
			third := ask(map[string]any{"role": "user", "content": "SCN=text RECALL"})
			if !strings.Contains(third.Text, word) || strings.Contains(strings.Join(third.Comments, " "), "started anew") {
				t.Errorf("the turn after: text %q, comments %q", third.Text, third.Comments)
			}
		})
	}
}

// forget removes what the CLI keeps of its conversations.
func forget(t *testing.T, home, cli string) {
	t.Helper()
	keep := map[string]bool{"config.toml": true, "opencode.json": true, "settings.json": true, "models.json": true, "auth.json": true}
	dirs := map[string][]string{
		"claude": {".claude", ".claude.json"}, "codex": {".codex"}, "pi": {".pi"}, "gemini": {".gemini"}, "kimi": {".kimi-code"},
		"opencode": {".local/share/opencode", ".local/state/opencode", ".cache/opencode"},
	}
	for _, dir := range dirs[cli] {
		_ = filepath.WalkDir(filepath.Join(home, dir), func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() && !keep[e.Name()] && !strings.Contains(path, "node_modules") {
				return os.Remove(path)
			}
			return nil
		})
	}
}
