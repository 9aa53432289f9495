package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A daemon of another version takes over what one has: PENSTOCK_OLD_BIN is the program
// of the version before. Handed over to or started after a kill, up and down again:
// no durable run is lost, each client gets the rest of its stream, each event once, and
// what was over before is still there.
func TestVersions(t *testing.T) {
	path := os.Getenv("PENSTOCK_OLD_BIN")
	if path == "" {
		t.Skip("PENSTOCK_OLD_BIN names no penstock of the version before: nothing shows that this one takes over from it")
	}
	before, now := program(t, path), program(t, Binary(t))
	for _, c := range []struct {
		name          string
		first, second string // programs
		kill          bool
	}{
		{"handover up", before, now, false},
		{"handover down", now, before, false},
		{"killed, then up", before, now, true},
		{"killed, then down", now, before, true},
	} {
		t.Run(c.name, func(t *testing.T) { changeVersion(t, c.first, c.second, c.kill) })
	}
}

func program(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func changeVersion(t *testing.T, first, second string, kill bool) {
	const streams = 8
	path := filepath.Join(t.TempDir(), "penstock")
	replace(t, path, first, 0o755)
	d := Start(t, Options{Config: handoverConfig, Binary: path})
	words := strings.Repeat("one two three four five ", 40)
	body := func(i int) map[string]any {
		prompt := "/delay 60ms /daemonize " + words
		if i%4 == 0 && !kill { // the status of what was no child is not known
			prompt += "/exit 3"
		}
		return Body("demo", prompt, map[string]any{"stream": true})
	}
	name := func(i int) string { return fmt.Sprint("durable-", i) }

	over := Body("demo", "it was over before", map[string]any{"stream": true, "session_id": "kept"})
	had, err := d.Durable(t.Context(), "over", "", over, nil)
	if err != nil || had.Finish != "stop" {
		t.Fatalf("%v %+v", err, had)
	}
	background := d.background("stays")
	answers := make([]*Answer, streams)
	seen := make(chan struct{}, streams)
	var clients sync.WaitGroup
	for i := range streams {
		clients.Go(func() {
			once := sync.OnceFunc(func() { seen <- struct{}{} })
			answers[i], _ = d.Durable(context.Background(), name(i), "", body(i), func(a *Answer) {
				if strings.Count(a.Text, " ") > i {
					once()
				}
			})
			once()
		})
	}
	for range streams {
		<-seen
	}
	pids := make([][]int, streams)
	for i := range streams {
		pids[i] = d.Pids(name(i))
	}

	replace(t, path, second, 0o755)
	if kill {
		if err := d.Cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-d.Exited()
		d = d.Restart(t)
	} else {
		d.HandOver()
	}
	for i, were := range pids {
		for _, pid := range were {
			if at := d.Pids(name(i)); len(at) > 0 && !slices.Contains(at, pid) {
				t.Errorf("%s: process %d is lost", name(i), pid)
			}
		}
	}
	d.wantAlive("stays", background)
	clients.Wait()
	for i, a := range answers {
		if a == nil || !kill && (!a.Done || a.Code() != "shutting_down" && a.Code() != "cli_error" && a.Finish == "") {
			t.Fatalf("%s: cut off without a word: %+v", name(i), a)
		}
		clients.Go(func() { rest(t, d, name(i), body(i), a, strings.TrimSpace(words)) })
	}
	clients.Wait()

	adopted := 0
	for i := range streams {
		_, r, err := d.Get("/v1/runs/" + name(i))
		if err != nil || r["durable"] != true || r["state"] != "finished" {
			t.Errorf("%s: %v %v", name(i), err, r)
		}
		if r["adopted"] == 1.0 {
			adopted++
		}
		want := 0.0
		if i%4 == 0 && !kill {
			want = 3
		}
		if got, known := r["exit_code"]; known && got != want {
			t.Errorf("%s: exit code %v, want %v", name(i), got, want)
		}
	}
	if adopted == 0 {
		t.Error("no stream lived through it: it shows nothing")
	}
	again, err := d.Durable(t.Context(), "over", "", over, nil)
	if err != nil || again.Text != had.Text || again.Finish != "stop" || !slices.Equal(again.IDs, had.IDs) {
		t.Errorf("what was over before: %v %+v", err, again)
	}
	if _, s, err := d.Get("/v1/sessions"); err != nil || !strings.Contains(fmt.Sprint(s), "kept") {
		t.Errorf("sessions: %v %v", err, s)
	}
	if r, err := Post(d.URL+"/v1/runs/stays/cancel", ""); err != nil || r.StatusCode != 202 {
		t.Errorf("cancel: %v %+v", err, r)
	}
	if err := d.WaitEmpty(handoverMax); err != nil {
		t.Error(err)
	}
	if _, r, err := d.Get("/v1/runs/stays"); err != nil || r["cause"] != "cancelled" {
		t.Errorf("cancelled: %v %v", err, r)
	}
	t.Logf("%d of %d streams adopted", adopted, streams)
}
