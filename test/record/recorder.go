package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"penstock/backend"
	"penstock/test/clis"
	"penstock/test/model"
)

// turnMax bounds one turn: the slowest CLI tries a broken stream for over a minute.
const turnMax = 4 * time.Minute

// recorder records scenarios; one at a time.
type recorder struct {
	root     string
	commands map[string][]string
	verbose  bool
}

// place is the throw-away world of one scenario: HOME, working directory,
// TMPDIR, the run's directory and a model server.
type place struct {
	base, home, cwd, tmp, dir string
	model                     *model.Server
}

func newPlace(retry bool) (*place, error) {
	base, err := os.MkdirTemp("", "record-")
	if err != nil {
		return nil, err
	}
	p := &place{base: base, model: model.New()}
	for _, d := range []struct {
		path *string
		name string
	}{{&p.home, "home"}, {&p.cwd, "cwd"}, {&p.tmp, "tmp"}, {&p.dir, "run"}} {
		*d.path = filepath.Join(base, d.name)
		if err := os.Mkdir(*d.path, 0o700); err != nil {
			return p, err
		}
	}
	if err := p.model.Start("127.0.0.1:0"); err != nil {
		return p, err
	}
	seed := clis.Seed
	if retry {
		seed = clis.SeedRetrying
	}
	return p, seed(p.home, p.model.URL())
}

func (p *place) close() {
	p.model.Close()
	_ = os.RemoveAll(p.base)
}

func (r recorder) record(ctx context.Context, cli string, s scenario, file string) error {
	p, err := newPlace(s.retry)
	if p != nil {
		defer p.close()
	}
	if err != nil {
		return err
	}
	request := backend.Request{
		Model: modelOf(cli), System: s.system, Cwd: p.cwd, Tmp: p.tmp, Dir: p.dir,
		Permissions: "bypass", Root: os.Geteuid() == 0,
	}
	if s.before != "" {
		request.Prompt = s.before
		request.Converse = s.converse
		first, err := r.turn(ctx, cli, scenario{name: "before", prompt: s.before}, p, request)
		if err != nil {
			return err
		}
		if first.session == "" {
			return errors.New("the earlier turn told no session")
		}
		request.Session = first.session
	}
	request.Prompt = s.prompt
	s.apply(&request)
	got, err := r.turn(ctx, cli, s, p, request)
	if err != nil {
		return err
	}
	if len(got.output) == 0 {
		return fmt.Errorf("no output: %s", got.stderr)
	}
	text := newScrubber(p, r.root).scrub(got.output)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	fmt.Printf("%s %s: %d lines, %s, last event %s\n", cli, s.name, got.lines, got.exit, describe(got.last))
	return os.WriteFile(file, text, 0o644)
}

// modelOf is the model that the seeded configuration gives each CLI.
func modelOf(cli string) string {
	switch cli {
	case "claude":
		return "claude-sonnet-4-5"
	case "gemini":
		return "gemini-2.5-flash"
	case "kimi":
		return "fake"
	case "codex":
		return "fake-model"
	}
	return "fake/fake-model"
}

// knobs turn the CLI's own retries on again, where its adapter turns them off.
func knobs(cli string, retry bool) map[string]string {
	switch {
	case retry && cli == "claude":
		return map[string]string{"CLAUDE_CODE_MAX_RETRIES": "3", "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": ""}
	case retry && cli == "kimi":
		return map[string]string{"KIMI_LOOP_MAX_RETRIES_PER_STEP": "3", "KIMI_LOOP_MAX_ATTEMPTS_PER_STEP": "3"}
	}
	return nil
}
