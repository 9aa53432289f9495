package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/test/daemon"
)

// scripted makes a backend "scripted" that does what stands between DO{{ and }} in its prompt, the
// last of several: sh, with text WORD and ended [WHY], which say so in event lines.
func scripted(t *testing.T) string {
	t.Helper()
	const script = `text() { printf '{"text":"%s"}\n' "$1"; }
ended() { printf '{"done":%s}\n' "${1:-true}"; }
eval "$(sed -n 's/.*DO{{\(.*\)}}.*/\1/p' | tail -n 1)"
`
	path := filepath.Join(t.TempDir(), "scripted")
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("[backends.scripted]\nkind = \"jsonl\"\ncommand = [\"/bin/sh\", %q]\n", path)
}

// failures are ways in which a run comes to no good end after its start.
var failures = []struct {
	name, do string
	cause    string // "" is none: the provider has refused
	said     string // before
}{
	{"exit", "exit 3", "cli_error", ""},
	{"late exit", "text so-far; exit 3", "cli_error", "so-far"},
	{"kill", "text so-far; kill -9 $$", "killed", "so-far"},
	{"endless output", `yes '{"text":"y"}'`, "output_limit", ""},
	{"stall", "exec sleep 600", "stalled", ""},
	{"limit of the provider", `echo '{"error":{"message":"slow down","status":429}}'`, "provider_rate_limit", ""},
	{"refusal", `text no; ended '"content_filter"'`, "", "no"},
}

const tight = `[limits]
memory_max = "64MiB"
line_max = "1MiB"
output_max = "1MiB"
stall_timeout = "5s"
[budget]
memory = "100%"
[queue]
max_waiting = 1000
`

// A run that failed after its start is never started again by a client of its own
// accord: each stock client in each of its dialects, whole and streamed, before and
// after it said something; and a refusal.
func TestNoClientStartsARunAgain(t *testing.T) {
	t.Parallel() // it waits for runs to stall
	d := daemon.Start(t, daemon.Options{Config: scripted(t) + tight})
	clients := openSDKs(t)
	var all []way
	for range failures {
		all = append(all, bothWays(stocks()...)...)
	}
	dir, n := t.TempDir(), 0
	attempts := clients.all(all, func(way) conversation {
		f := failures[n/(len(all)/len(failures))]
		prompt := fmt.Sprintf("DO{{echo >>%s; %s}}", filepath.Join(dir, fmt.Sprint(n)), f.do)
		n++
		return conversation{BaseURL: d.URL, Model: "scripted", Turns: says(prompt)}
	})
	for i, f := range failures {
		size := len(all) / len(failures)
		t.Run(f.name, func(t *testing.T) {
			for j, h := range attempts[i*size : (i+1)*size] {
				t.Run(h.String(), func(t *testing.T) {
					if h.err != nil {
						t.Fatal(h.err)
					}
					started(t, filepath.Join(dir, fmt.Sprint(i*size+j)), 1)
					s := h.turns[0]
					if f.cause == "" && s.Finish == h.good() {
						t.Errorf("the client took it for an answer: %v", s)
					}
					if f.cause != "" && !h.tells(s, f.cause) {
						t.Errorf("the client doesn't tell %s: %v", f.cause, s)
					}
					if h.stream && s.Text != f.said && f.said != "" {
						t.Errorf("the client lost what was said before: %v", s)
					}
				})
			}
		})
	}
	if err := d.WaitEmpty(grace); err != nil {
		t.Error(err)
	}
}

// started wants so many lines in the file in which each start leaves one.
func started(t *testing.T, file string, times int) {
	t.Helper()
	lines, err := os.ReadFile(file)
	if n := bytes.Count(lines, []byte("\n")); n != times || err != nil {
		t.Errorf("started %d times: %v", n, err)
	}
}

// LangChain sends every model with codex in its name to the Responses API, whatever it is
// asked for: it has its answer there, and by an alias in chat completions.
func TestLangChainByAnAlias(t *testing.T) {
	d := daemon.Start(t, daemon.Options{Config: "[backends.my-codex]\nkind = \"exec\"\ncommand = [\"/usr/bin/tr\", \"a-z\", \"A-Z\"]\naliases = [\"my-agent\"]\n"})
	clients := openSDKs(t)
	for model, prefix := range map[string]string{"my-codex": "resp_", "my-agent": "chatcmpl-"} {
		s := clients.last(t, way{stock{"langchain", "chat", false}, true}, conversation{BaseURL: d.URL, Model: model, Turns: says("word")})
		if s.Error != nil || s.Text != "WORD" || !strings.HasPrefix(s.ID, prefix) {
			t.Errorf("%s: %v", model, s)
		}
	}
}
