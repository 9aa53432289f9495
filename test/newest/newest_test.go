// Package newest drives the newest versions of the agent CLIs, beside the pinned
// ones, through the built daemon and prints what works as a table. It has tests
// only, and is no part of `make test`: what npm has today is nobody's change.
package newest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"penstock/test/clis"
	"penstock/test/daemon"
	"penstock/test/model"
)

// set is one installation of the CLIs.
type set struct{ name, dir string }

// sets are the pinned and the newest; PENSTOCK_CLI_SETS=name=dir,... are others.
func sets(t *testing.T) []set {
	top := daemon.Top(t)
	given := os.Getenv("PENSTOCK_CLI_SETS")
	if given == "" {
		return []set{{"pinned", filepath.Join(top, "test", "clis")}, {"newest", filepath.Join(top, "test", ".cache", "clis-newest")}}
	}
	var all []set
	for _, one := range strings.Split(given, ",") {
		name, dir, _ := strings.Cut(one, "=")
		all = append(all, set{name, dir})
	}
	return all
}

// six are the CLIs. PENSTOCK_CLIS narrows it.
func six() []string {
	if only := os.Getenv("PENSTOCK_CLIS"); only != "" {
		return strings.Split(only, ",")
	}
	return []string{"claude", "codex", "opencode", "kimi", "gemini", "pi"}
}

// scenario is a column of the table: what is asked, and what has to come.
type scenario struct {
	name   string
	before string // an earlier turn of the session, under another system text
	prompt string
	system string // the model has to see it
	want   string // finish_reason, or the error's code
	text   string // has to be in the answer
}

var columns = []scenario{
	{name: "text", prompt: "SCN=text N=4", want: "stop", text: "tok3 marked-user-turns=1"},
	{name: "system", prompt: "SCN=text N=2", system: "Answer like a lighthouse keeper.", want: "stop", text: "marked-user-turns=1"},
	{name: "resume", before: "SCN=text N=2 REMEMBER{{heron}}", prompt: "SCN=text N=2 RECALL", system: "Be brief.", want: "stop", text: "recalled: heron"},
	{name: "slash", prompt: "/clear SCN=text N=2", want: "stop", text: "marked-user-turns=1"},
	{name: "tool", prompt: "SCN=tool CMD{{echo from-the-tool}}", want: "stop", text: "tool-said: from-the-tool"},
	{name: "429", prompt: "SCN=e429", want: "provider_rate_limit"},
	{name: "401", prompt: "SCN=e401", want: "provider_auth"},
	{name: "mid-stream", prompt: "SCN=mid N=3", want: "provider_error"},
	{name: "refusal", prompt: "SCN=refusal N=3", want: "content_filter"},
	{name: "token limit", prompt: "SCN=cut N=3", want: "length", text: "tok2 marked-user-turns=1"},
}

const config = `drain_timeout = "5s"
[limits]
memory_max = "3GiB"
timeout = "170s"
[budget]
memory = "100%"
max_runs = 4
`

func TestNewest(t *testing.T) {
	head := "| CLI | set | version |"
	for _, c := range columns {
		head += " " + c.name + " |"
	}
	fmt.Println(head + " no login |\n|---|---|---|" + strings.Repeat("---|", len(columns)+1))
	for _, cli := range six() {
		for _, s := range sets(t) {
			t.Run(cli+"/"+s.name, func(t *testing.T) {
				version := clis.Versions(s.dir)[cli]
				row := fmt.Sprintf("| %s | %s | %s |", cli, s.name, version)
				if version == "" {
					t.Errorf("%s is not installed in %s: test/clis/newest", cli, s.dir)
					return
				}
				w := begin(t, cli, s.dir)
				cell := func(name string, err error, begun time.Time) {
					if err != nil {
						t.Errorf("%s: %v", name, err)
						row += " **" + strings.NewReplacer("|", "/", "\n", " ").Replace(fmt.Sprintf("%.120v", err)) + "** |"
						return
					}
					row += fmt.Sprintf(" %.1f s |", time.Since(begun).Seconds())
				}
				for _, c := range columns {
					begun := time.Now()
					cell(c.name, c.try(w, cli), begun)
				}
				begun := time.Now()
				cell("no login", noLogin(t, cli, s.dir), begun)
				fmt.Println(row) // at once: a table that is never finished is one all the same
			})
		}
	}
}

// begin starts a scripted model, and a daemon with one CLI.
func begin(t *testing.T, cli, dir string) world {
	t.Helper()
	m := model.ForTest(t)
	argv, err := clis.Command(dir, cli)
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	if err := clis.Seed(home, m.URL()); err != nil {
		t.Fatal(err)
	}
	backends, env := clis.Backends(dir, m.URL(), map[string][]string{cli: argv})
	d := daemon.Start(t, daemon.Options{Home: home, Env: env, Config: config + backends})
	probed(t, d, cli)
	return world{d, m}
}

type world struct {
	*daemon.Daemon
	model *model.Server
}

// noLogin asks a CLI that has neither configuration nor key. opencode has models
// that need none; it is asked for one that does.
func noLogin(t *testing.T, cli, dir string) error {
	argv, err := clis.Command(dir, cli)
	if err != nil {
		return err
	}
	backends, env := clis.Backends(dir, "", map[string][]string{cli: argv})
	model := cli
	if cli == "opencode" {
		model += "/anthropic/claude-sonnet-4-5"
	}
	backends = regexp.MustCompile(`(?m)^(default_model|env) = .*\n`).ReplaceAllString(backends, "")
	d := daemon.Start(t, daemon.Options{Home: t.TempDir(), Env: map[string]string{"PATH": env["PATH"]}, Config: config + backends})
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	a, err := d.Chat(ctx, daemon.Body(model, "hello", map[string]any{"stream": true}), nil)
	if err != nil {
		return err
	}
	if a.Code() != "provider_auth" {
		return fmt.Errorf("%s, want provider_auth", told(a))
	}
	return nil
}

// probed waits until the daemon knows the CLI's version: some adapters choose by it.
func probed(t *testing.T, d *daemon.Daemon, cli string) {
	t.Helper()
	err := daemon.Eventually(time.Minute, func() error {
		h, err := d.Health()
		if err != nil {
			return err
		}
		backends, _ := h["backends"].([]any)
		for _, b := range backends {
			if one, _ := b.(map[string]any); one["name"] == cli && one["checked_at"] != nil {
				return nil
			}
		}
		return fmt.Errorf("%s not yet probed", cli)
	})
	if err != nil {
		t.Error(err)
	}
}

func (s scenario) try(w world, cli string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	ask := func(system, prompt string) (*daemon.Answer, error) {
		messages := []map[string]any{{"role": "user", "content": prompt}}
		if system != "" {
			messages = append([]map[string]any{{"role": "system", "content": system}}, messages...)
		}
		extra := map[string]any{"stream": true, "messages": messages}
		if s.before != "" {
			extra["session_id"] = "newest-" + cli
		}
		return w.Chat(ctx, daemon.Body(cli, "", extra), nil)
	}
	if s.before != "" {
		if a, err := ask("Be verbose.", s.before); err != nil || a.Finish != "stop" {
			return fmt.Errorf("first turn: %v, %s", err, told(a))
		}
	}
	a, err := ask(s.system, s.prompt)
	if err != nil {
		return err
	}
	if got := a.Finish + a.Code(); got != s.want || !strings.Contains(a.Text, s.text) {
		return fmt.Errorf("%s, want %s", told(a), s.want)
	}
	if seen := last(w.model); !strings.Contains(seen, s.system) {
		return fmt.Errorf("the model did not see the system text %q", s.system)
	}
	return nil
}

// last is what the model saw last of system and user text.
func last(m *model.Server) string {
	all := m.Requests()
	if len(all) == 0 {
		return ""
	}
	r := all[len(all)-1]
	return r.System + r.LastUser + strings.Join(r.Users, "\n")
}

func told(a *daemon.Answer) string {
	if a == nil {
		return "no answer"
	}
	if a.Error != nil {
		return a.Error.Code + ": " + a.Error.Message
	}
	return fmt.Sprintf("%s, text %q", a.Finish, a.Text)
}
