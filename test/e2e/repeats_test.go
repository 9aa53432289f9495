package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/test/clis"
	"penstock/test/daemon"
)

// A run that failed after its start is never started again by a client of its own
// accord: each stock client, whole and streamed, before and after it said something.
func TestNoClientStartsARunAgain(t *testing.T) {
	top := daemon.Top(t)
	clients := filepath.Join(top, "test", "sdk", "clients.mjs")
	if _, err := os.Stat(filepath.Join(top, "test", "sdk", "node_modules", ".stamp")); err != nil {
		t.Fatalf("the stock clients: %v: run test/sdk/install", err)
	}
	node := clis.Node(filepath.Join(top, "test", "clis"))
	d := daemon.Start(t, daemon.Options{Config: "[backends.sh]\nkind = \"exec\"\ncommand = \"/bin/sh\"\n[limits]\nmemory_max = \"256MiB\"\nline_max = \"1MiB\"\noutput_max = \"1MiB\"\nstall_timeout = \"5s\"\n"})
	script := []string{node, filepath.Join(top, "test", "sdk", "chat.mjs")}
	gosdk := []string{goSDK(t)}
	for _, client := range []struct {
		name    string
		argv    []string
		request map[string]any
		whole   bool
	}{
		{"openai", script, nil, true},
		{"openai helper", script, map[string]any{"helper": true}, false},
		{"openai-go", gosdk, nil, false},
		{"ai", []string{node, clients}, map[string]any{"client": "ai"}, true},
		{"langchain", []string{node, clients}, map[string]any{"client": "langchain"}, true},
	} {
		for _, stream := range []bool{false, true} {
			if !stream && !client.whole {
				continue
			}
			for cause, end := range map[string]string{
				"cli_error": "exit 3", "cli_error, late": "echo so far; exit 3", "killed": "kill -9 $$", "output_limit": "yes",
				"stalled": "exec sleep 600",
			} {
				t.Run(fmt.Sprintf("%s/stream=%v/%s", client.name, stream, cause), func(t *testing.T) {
					t.Parallel()
					starts := filepath.Join(t.TempDir(), "starts")
					prompt := fmt.Sprintf("echo >>%s; %s", starts, end)
					request := map[string]any{"baseURL": d.URL + "/v1", "model": "sh", "stream": stream, "messages": user(prompt), "prompt": prompt}
					for k, v := range client.request {
						request[k] = v
					}
					s := sdk(t, client.argv, request)
					lines, err := os.ReadFile(starts)
					if n := bytes.Count(lines, []byte("\n")); n != 1 || err != nil {
						t.Errorf("started %d times: %v", n, err)
					}
					if s.Error == nil {
						t.Error("the client took it for an answer")
					}
				})
			}
		}
	}
}

// LangChain sends every model with codex in its name to the Responses API: what it
// is told there helps, and by an alias the same backend is asked as any other.
func TestLangChainByAnAlias(t *testing.T) {
	top := daemon.Top(t)
	node := clis.Node(filepath.Join(top, "test", "clis"))
	d := daemon.Start(t, daemon.Options{Config: "[backends.my-codex]\nkind = \"exec\"\ncommand = [\"/usr/bin/tr\", \"a-z\", \"A-Z\"]\naliases = [\"my-agent\"]\n"})
	ask := func(model string) seen {
		return sdk(t, []string{node, filepath.Join(top, "test", "sdk", "clients.mjs")}, map[string]any{
			"client": "langchain", "baseURL": d.URL + "/v1", "model": model, "prompt": "word", "stream": true,
		})
	}
	if s := ask("my-codex"); s.Error == nil || !strings.Contains(s.Error.Message, "aliases") {
		t.Errorf("by its own name: %+v %+v", s, s.Error)
	}
	if s := ask("my-agent"); s.Error != nil || s.Text != "WORD" {
		t.Errorf("by an alias: %+v %+v", s, s.Error)
	}
}
