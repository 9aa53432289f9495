package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/config"
)

// A request that waits is started in the directory it was let in for, or not at
// all: whatever its path has come to mean meanwhile.
func TestCwd_SwappedWhileQueued(t *testing.T) {
	root, out := t.TempDir(), t.TempDir()
	s := serve(t, func(c *config.Config) { c.Budget.MaxRuns, c.WorkspaceRoots = 1, []string{root} })
	swaps := map[string]func(dir string) error{
		"link out":   func(dir string) error { return os.Symlink(out, dir) },
		"link aside": func(dir string) error { return os.Symlink(dir+"-was", dir) },
		"gone":       func(string) error { return nil },
	}
	gate := filepath.Join(out, "gate")
	holder := make(chan result, 1)
	go func() {
		holder <- s.chat("sh", "while ! [ -e "+gate+" ]; do sleep 0.02; done", false, "")
	}()
	s.until(`"running":1`)
	queued := map[string]chan result{}
	for name := range swaps {
		dir := filepath.Join(root, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		answer := make(chan result, 1)
		queued[name] = answer
		go func() { answer <- s.chat("sh", "pwd -P", false, `,"cwd":"`+dir+`"`) }()
	}
	eventually(t, "all wait", func() bool {
		return strings.Count(s.ask("GET", "/v1/runs?state=queued", "").body, `"for":"slot"`) == len(swaps)
	})
	for name, swap := range swaps {
		dir := filepath.Join(root, name)
		if err := os.Rename(dir, dir+"-was"); err != nil {
			t.Fatal(err)
		}
		if err := swap(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	<-holder
	for name, c := range queued {
		r := <-c
		want := 403
		if name == "gone" {
			want = 400
		}
		if r.status != want || strings.Contains(r.body, "chat.completion") {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

// What a session remembers is held to the roots of today, also where its CLI
// can't resume; a directory that the operator has configured is not.
func TestCwd_RememberedBySession(t *testing.T) {
	state, root, out := t.TempDir(), t.TempDir(), t.TempDir()
	dir := filepath.Join(root, "w")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	configure := func(roots ...string) func(*config.Config) {
		return func(c *config.Config) {
			c.StateDir, c.WorkspaceRoots = state, roots
			for _, name := range []string{"sh", "lines"} {
				fixed := c.Backends[name]
				fixed.Name, fixed.Cwd = "fixed-"+name, out
				c.Backends[fixed.Name] = fixed
			}
		}
	}
	const told = `echo '{"session":"cli-1"}'; printf '{"text":"%s","done":true}\n' "$(pwd -P)"`
	scripts := map[string]string{"sh": "pwd -P", "lines": told}
	turn := func(s *served, backend, more string) result {
		return s.chat(backend, scripts[strings.TrimPrefix(backend, "fixed-")], false, `,"session_id":"`+backend+`"`+more)
	}
	s := serve(t, configure(root))
	for backend := range scripts {
		if r := turn(s, backend, `,"cwd":"`+dir+`"`); strings.TrimSpace(r.text) != dir {
			t.Errorf("%s, first turn: %+v", backend, r)
		}
		if r := turn(s, backend, ""); strings.TrimSpace(r.text) != dir {
			t.Errorf("%s, second turn: %+v", backend, r)
		}
		for range 2 {
			if r := turn(s, "fixed-"+backend, ""); strings.TrimSpace(r.text) != out {
				t.Errorf("%s, in the configured directory: %+v", backend, r)
			}
		}
	}
	if err := os.Rename(dir, dir+"-was"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(out, dir); err != nil {
		t.Fatal(err)
	}
	for backend := range scripts {
		if r := turn(s, backend, ""); r.code() != "cwd_not_allowed" {
			t.Errorf("%s, a link leads out: %+v", backend, r)
		}
	}
	s.end()
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+"-was", dir); err != nil {
		t.Fatal(err)
	}
	s = serve(t, configure(t.TempDir()))
	for backend := range scripts {
		if r := turn(s, backend, ""); r.code() != "cwd_not_allowed" {
			t.Errorf("%s, narrower roots: %+v", backend, r)
		}
	}
}
