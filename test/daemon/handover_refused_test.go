package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// copied is a program of the test's own, to be replaced and broken.
func copied(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "penstock")
	if err := os.WriteFile(path, text, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// replace puts another file in a path's place, as a package manager does.
func replace(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// What the successor would not survive is refused, and nothing changes.
func TestHandoverRefused(t *testing.T) {
	program := copied(t)
	const mine = "[backends.mine]\nkind = \"exec\"\ncommand = [\"/bin/sh\"]\n"
	d := Start(t, Options{Config: handoverConfig + mine, Binary: program})
	file := filepath.Join(d.Dir, "penstock.toml")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	pid := d.background("stays")
	go func() {
		_, _ = d.Durable(t.Context(), "of-mine", "", Body("mine", "sleep 600", map[string]any{"stream": true}), nil)
	}()
	if err := Eventually(handoverMax, func() error {
		if len(d.Pids("of-mine")) == 0 {
			return errors.New("not started")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	attached := make(chan *Answer, 1)
	go func() {
		a, _ := d.Durable(t.Context(), "stays", "", Body("demo", "/sleep 600", map[string]any{"stream": true}), nil)
		attached <- a
	}()
	refused := 0
	for _, c := range []struct {
		name, why string
		set       func()
	}{
		{"not TOML", "penstock.toml", func() { replace(t, file, string(good)+"\nnonsense", 0o600) }},
		{"unknown key", "no_such_key", func() { replace(t, file, "no_such_key = 1\n"+string(good), 0o600) }},
		{"another state directory", "state_dir", func() {
			replace(t, file, strings.Replace(string(good), "state_dir = \""+d.Dir, "state_dir = \""+d.Dir+"/other", 1), 0o600)
		}},
		{"another address", "listen", func() { replace(t, file, strings.Replace(string(good), "127.0.0.1:", "127.0.0.2:", 1), 0o600) }},
		{"a live run's backend is gone", "backends.mine: not configured any more, and run of-mine of it is live", func() {
			replace(t, file, strings.Replace(string(good), mine, "", 1), 0o600)
		}},
		{"a live run's backend is another kind", `backends.mine.kind: \"jsonl\" was \"exec\", and run of-mine`, func() {
			replace(t, file, strings.Replace(string(good), `kind = "exec"`, `kind = "jsonl"`, 1), 0o600)
		}},
		{"no program", "no such file", func() { replace(t, file, string(good), 0o600); os.Remove(program) }},
		{"not executable", "permission denied", func() { replace(t, program, string(binary), 0o644) }},
		{"not a program", "exec format error", func() { replace(t, program, "\x7fELF and nothing else", 0o755) }},
		{"an earlier version", "state format", func() { replace(t, program, "#!/bin/sh\necho penstock 0.9\n", 0o755) }},
		{"a program that fails", "exit status 7", func() { replace(t, program, "#!/bin/sh\nexit 7\n", 0o755) }},
	} {
		c.set()
		d.signal(syscall.SIGUSR2)
		refused++
		d.awaitSaid("handover refused: serving on", refused)
		log := d.Log()
		if line := log[strings.LastIndex(log, "handover refused"):]; !strings.Contains(line, c.why) {
			t.Errorf("%s: %q is not in %s", c.name, c.why, line)
		}
		note, err := os.ReadFile(filepath.Join(d.Dir, "state", "store", "handover.json"))
		if err != nil || !strings.Contains(string(note), `"refused"`) {
			t.Errorf("%s: %s %v", c.name, note, err)
		}
		d.wantAlive("stays", pid)
	}
	select {
	case a := <-attached:
		t.Errorf("a reader was sent away: %+v", a)
	default:
	}
	if d.said("draining") > 0 {
		t.Error("work was refused before the successor was tried")
	}
	replace(t, program, string(binary), 0o755) // it is the demo backend's, too
	a, err := d.Chat(t.Context(), Body("demo", "still here", map[string]any{"stream": true}), nil)
	if err != nil || strings.TrimSpace(a.Text) != "still here" {
		t.Errorf("%v %+v", err, a)
	}
	d.HandOver()
	d.wantAlive("stays", pid)
	if a := <-attached; a == nil || a.Code() != "shutting_down" || !a.Done {
		t.Errorf("the reader was told %+v", a)
	}
}

// A successor that is there when it is tried out and gone when it is its turn.
func TestHandoverToNobody(t *testing.T) {
	program := copied(t)
	d := Start(t, Options{Config: strings.Replace(handoverConfig, "1s", "60s", 1), Binary: program})
	binary, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	pid := d.background("stays")
	held, end := context.WithCancel(t.Context())
	defer end()
	go func() {
		_, _ = d.Chat(held, Body("demo", "/sleep 600", map[string]any{"stream": true}), nil)
	}()
	if err := Eventually(handoverMax, func() error {
		if len(d.Groups()) < 2 {
			return errors.New("one run")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	d.signal(syscall.SIGUSR2)
	d.awaitSaid("draining", 1)
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	end() // nothing keeps it any more
	d.awaitSaid("the successor was not executed: serving on without it", 1)
	d.awaitSaid("serving", 2)
	d.wantAlive("stays", pid)
	if err := Eventually(handoverMax, func() error {
		_, r, err := d.Get("/v1/runs/stays")
		if err != nil || r["state"] != "running" || r["adopted"] != 1.0 {
			return fmt.Errorf("%v %v", r, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	replace(t, program, string(binary), 0o755)
	if a, err := d.Chat(t.Context(), Body("demo", "still here", nil), nil); err != nil || strings.TrimSpace(a.Text) != "still here" {
		t.Errorf("%v %+v", err, a)
	}
	d.HandOver()
	d.wantAlive("stays", pid)
	if r, err := Post(d.URL+"/v1/runs/stays/cancel", ""); err != nil || r.StatusCode != http.StatusAccepted {
		t.Errorf("cancel: %v %+v", err, r)
	}
}
