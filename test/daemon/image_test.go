package daemon

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"penstock/internal/imagetest"
)

// The daemon is killed over runs in an image, or hands over. The next one sees the durable ones
// to the end that they have, also those that ended meanwhile, and leaves nothing of the others.
func TestRunsInAnImageSurviveTheDaemon(t *testing.T) {
	t.Run("killed", func(t *testing.T) { imageRunsSurvive(t, true) })
	t.Run("handed over", func(t *testing.T) { imageRunsSurvive(t, false) })
}

func imageRunsSurvive(t *testing.T, killed bool) {
	d := Start(t, Options{Config: fmt.Sprintf("[limits]\nmemory_max = \"32MiB\"\ngrace = \"5s\"\n[budget]\nmemory = \"100%%\"\nmax_runs = 24\n[images.box]\nrootfs = %q\n[backends.box]\nkind = \"exec\"\ncommand = \"sh\"\nimage = \"box\"\n"+
		"[backends.lines]\nkind = \"jsonl\"\ncommand = \"sh\"\nimage = \"box\"\n", imagetest.Root(t))})
	work := filepath.Join(d.Dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		t.Fatal(err)
	}
	mounts := d.Mounts()
	wait := "while [ ! -e go ]; do sleep 0.02; done; "
	rows := []struct {
		id, backend, script string
		cause               string
		exit                any // nil is by a signal
		signal, text        string
	}{
		{"away", "box", "echo a; while [ ! -e leave ]; do sleep 0.02; done; echo b; exit 0", "completed", 0.0, "", "a b"},
		{"away-bad", "box", "while [ ! -e leave ]; do sleep 0.02; done; exit 5", "cli_error", 5.0, "", ""},
		{"ends", "box", "echo c; " + wait + "echo d", "completed", 0.0, "", "c d"},
		{"killed", "box", wait + "kill -9 $$", "killed", nil, "SIGKILL", ""},
		{"crashed", "box", wait + "kill -SEGV $$", "killed", nil, "SIGSEGV", ""},
		{"leaves", "box", "sleep 99 & sleep 99 & " + wait + "echo e", "completed", 0.0, "", "e"},
		{"soft", "lines", "trap 'touch trapped; exit 6' TERM; touch trap; while :; do sleep 0.02; done", "cancelled", 6.0, "", ""},
		{"hard", "box", "touch hard; sleep 99", "cancelled", nil, "SIGKILL", ""},
	}
	body := func(backend, script string) map[string]any {
		return Body(backend, script, map[string]any{"stream": true, "cwd": work})
	}
	var clients sync.WaitGroup
	for _, row := range rows {
		clients.Go(func() { _, _ = d.Durable(t.Context(), row.id, "", body(row.backend, row.script), nil) })
	}
	waited := []string{"trap", "hard"}
	if killed {
		waited = append(waited, "plain")
		clients.Go(func() { _, _ = d.Chat(t.Context(), body("box", "touch plain; sleep 99"), nil) })
	}
	there := func(name string) func() error {
		return func() error { _, err := os.Stat(filepath.Join(work, name)); return err }
	}
	for _, name := range waited {
		if err := Eventually(time.Minute, there(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Eventually(time.Minute, func() error {
		for _, row := range rows {
			if len(d.Pids(row.id)) < 3 { // bubblewrap, process 1, the CLI
				return fmt.Errorf("%s is not started", row.id)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	root := d.Root()
	touch := func(name string) {
		if err := os.WriteFile(filepath.Join(work, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := d
	if killed {
		if err := d.Cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-d.Exited()
		touch("leave")
		if err := Eventually(time.Minute, func() error {
			if left := slices.Concat(pidsIn(root, "away"), pidsIn(root, "away-bad")); len(left) > 0 {
				return fmt.Errorf("processes %v", left)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		again = d.Restart(t)
	} else {
		d.HandOver()
		touch("leave")
	}
	clients.Wait()
	touch("go")
	for _, id := range []string{"soft", "hard"} {
		resp, err := Post(again.URL+"/v1/runs/"+id+"/cancel", "")
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode/100 != 2 {
			t.Errorf("cancel %s: %d", id, resp.StatusCode)
		}
	}
	for _, row := range rows {
		a, err := again.Durable(t.Context(), row.id, "", body(row.backend, row.script), nil)
		if err != nil || strings.Join(strings.Fields(a.Text), " ") != row.text || !a.Done {
			t.Errorf("%s: %v %+v", row.id, err, a)
		}
		var r map[string]any
		if err := Eventually(10*time.Second, func() error {
			if _, r, err = again.Get("/v1/runs/" + row.id); err == nil && r["state"] != "finished" {
				err = fmt.Errorf("it is %s", r["state"])
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		signal, _ := r["signal"].(string)
		if row.id == "hard" && signal == "" { // of what is killed with its process 1 older kernels tell a later daemon nothing
			signal = row.signal
		}
		if r["cause"] != row.cause || r["exit_code"] != row.exit || signal != row.signal {
			t.Errorf("%s: %s, exit %v, signal %q, want %s, %v, %q: %s", row.id, r["cause"], r["exit_code"], signal, row.cause, row.exit, row.signal, r["message"])
		}
		if row.id == "leaves" && r["processes_after_leader"] != 2.0 {
			t.Errorf("survivors: %v", r["processes_after_leader"])
		}
		if image, _ := r["image"].(map[string]any); image["name"] != "box" {
			t.Errorf("%s: image %v", row.id, r["image"])
		}
		if row.cause != "lost" && r["receipt"] == nil {
			t.Errorf("%s: no receipt", row.id)
		}
	}
	if err := there("trapped")(); err != nil {
		t.Error("the CLI had no SIGTERM: ", err)
	}
	if err := again.WaitEmpty(5 * time.Second); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(filepath.Join(d.Dir, "state/store/status")); err != nil || len(entries) > 0 {
		t.Errorf("left of process 1: %v %v", entries, err)
	}
	if n := again.Mounts(); n != mounts {
		t.Errorf("%d mounts, and %d at first", n, mounts)
	}
}

// A daemon that is killed while a run's image is being mounted has started it all the same:
// the next one sees it to its end.
func TestKilledWhileAnImageIsMounted(t *testing.T) {
	slow := t.TempDir()
	bubblewrap, err := exec.LookPath("bwrap")
	if err != nil {
		if os.Getenv("PENSTOCK_LAB") == "1" {
			t.Fatal(err)
		}
		t.Skipf("needs bubblewrap: %v", err)
	}
	wrapper := "#!/bin/sh\nfor a; do [ \"$a\" != --args ] || { touch " + slow + "/begun; while [ ! -e " + slow + "/go ]; do sleep 0.02; done; }; done\nexec " + bubblewrap + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(slow, "bwrap"), []byte(wrapper), 0o755); err != nil {
		t.Fatal(err)
	}
	d := Start(t, Options{
		Config: fmt.Sprintf("[limits]\nmemory_max = \"64MiB\"\n[images.box]\nrootfs = %q\n[backends.box]\nkind = \"exec\"\ncommand = \"sh\"\nimage = \"box\"\n", imagetest.Root(t)),
		Env:    map[string]string{"PATH": slow + ":" + os.Getenv("PATH")},
	})
	body := Body("box", "echo alive; sleep 0.3; exit 7", map[string]any{"stream": true})
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = d.Durable(t.Context(), "born", "", body, nil)
	}()
	if err := Eventually(time.Minute, func() error { _, err := os.Stat(slow + "/begun"); return err }); err != nil {
		t.Fatal(err)
	}
	if err := d.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-d.Exited()
	<-over
	if err := os.WriteFile(slow+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again := d.Restart(t)
	a, err := again.Durable(t.Context(), "born", "", body, nil)
	if err != nil || strings.TrimSpace(a.Text) != "alive" || a.Code() != "cli_error" || !strings.Contains(a.Error.Message, "status 7") {
		t.Errorf("%v %+v %+v", err, a, a.Error)
	}
	if err := again.WaitEmpty(5 * time.Second); err != nil {
		t.Error(err)
	}
}
