package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"penstock/test/clis"
	"penstock/test/daemon"
)

// agent is a CLI as a client: it asks Penstock where it would ask its provider.
type agent struct {
	name string
	home string
	argv []string
	env  []string
}

// agents are those that can be pointed at another server: codex by responses, Claude Code by
// messages. What they do by themselves after a failure is left as it is.
func agents(t *testing.T, url string) []agent {
	t.Helper()
	url = watched(t, url)
	dir := filepath.Join(daemon.Top(t), "test", "clis")
	var all []agent
	for _, name := range []string{"codex", "claude"} {
		argv, err := clis.Command(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		home := t.TempDir()
		if err := clis.SeedRetrying(home, url); err != nil {
			t.Fatal(err)
		}
		env := []string{"HOME=" + home, "TMPDIR=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
		for key, value := range clis.Env(url) {
			env = append(env, key+"="+value)
		}
		all = append(all, agent{name, home, argv, env})
	}
	return all
}

// told is what an agent prints of a turn.
type told struct {
	text, session string
	failed        string // what it says of a failure; "" is none
	status        int
}

// ask has the agent answer one turn; session is that of the turn before, "" for the first.
func (a agent) ask(t *testing.T, model, session, prompt string) told {
	t.Helper()
	args := map[string][]string{
		"codex":  {"exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "-m", model, "-"},
		"claude": {"-p", "--output-format", "json", "--model", model},
	}[a.name]
	switch {
	case session != "" && a.name == "codex":
		args = append([]string{"exec", "resume"}, append(args[1:len(args)-1], session, "-")...)
	case session != "":
		args = append(args, "--resume", session)
	}
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	cmd := exec.CommandContext(ctx, a.argv[0], append(a.argv[1:], args...)...)
	cmd.Dir, cmd.Env = a.home, a.env
	cmd.Stdin = strings.NewReader(prompt)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%s: %v: %s%s", a.name, err, &stdout, &stderr)
	}
	r := told{status: cmd.ProcessState.ExitCode()}
	for line := range bytes.Lines(stdout.Bytes()) {
		r.take(line)
	}
	if r.status != 0 && r.failed == "" {
		r.failed = stderr.String()
	}
	return r
}

// take takes a line of either.
func (r *told) take(line []byte) {
	var e struct {
		Type    string
		Thread  string `json:"thread_id"`
		Session string `json:"session_id"`
		Result  string
		IsError bool `json:"is_error"`
		Item    struct{ Type, Text string }
		Error   struct{ Message string }
	}
	if json.Unmarshal(line, &e) != nil {
		return
	}
	switch e.Type {
	case "thread.started":
		r.session = e.Thread
	case "item.completed":
		if e.Item.Type == "agent_message" {
			r.text += e.Item.Text
		}
	case "turn.failed":
		r.failed = e.Error.Message
	case "result":
		r.session, r.text = e.Session, e.Result
		if e.IsError {
			r.text, r.failed = "", e.Result
		}
	}
}

// Agents as clients: a conversation of two turns with each backend, the second of which
// knows the first.
func TestAgents_Conversation(t *testing.T) {
	w := begin(t, scripted(t))
	for _, a := range agents(t, w.URL) {
		for _, backend := range three() {
			t.Run(a.name+"/"+backend, func(t *testing.T) {
				t.Parallel()
				word := fmt.Sprintf("blue-%s-%s", a.name, backend)
				first := a.ask(t, backend, "", "SCN=text N=3 REMEMBER{{"+word+"}}")
				if first.failed != "" || first.status != 0 || !strings.Contains(first.text, "tok2") {
					t.Fatalf("first turn: %+v", first)
				}
				second := a.ask(t, backend, first.session, "SCN=text N=3 RECALL")
				if second.failed != "" || second.status != 0 || !strings.Contains(second.text, "recalled: "+word) {
					t.Errorf("second turn: %+v", second)
				}
			})
		}
	}
}

// An agent that is a client does not start again what has failed after its start, or was refused,
// whatever it repeats of its own provider's failures.
func TestAgents_StartNothingAgain(t *testing.T) {
	t.Parallel() // it waits for runs to stall
	d := daemon.Start(t, daemon.Options{Config: scripted(t) + tight})
	for _, a := range agents(t, d.URL) {
		for _, f := range failures {
			t.Run(a.name+"/"+f.name, func(t *testing.T) {
				t.Parallel()
				file := filepath.Join(t.TempDir(), "starts")
				r := a.ask(t, "scripted", "", fmt.Sprintf("DO{{echo >>%s; %s}}", file, f.do))
				started(t, file, 1)
				if r.failed == "" || r.status == 0 {
					t.Errorf("it took it for an answer: %+v", r)
				}
			})
		}
	}
}
