package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The daemon is killed under 20 durable streams; the next one finds the CLIs
// again and every client gets the rest of its stream, each event once.
func TestDurableStreamsSurviveTheDaemon(t *testing.T) {
	streams, rounds := 20, 12
	if os.Getenv("PENSTOCK_LAB") == "1" {
		streams, rounds = 8, 70 // one slow processor: none may end before all are looked at again
	}
	d := Start(t, Options{Config: `
[limits]
memory_max = "64MiB"
[budget]
memory = "100%"
max_runs = 24
`})
	words := strings.Repeat("one two three four five ", rounds)
	want := strings.TrimSpace(words)
	body := Body("demo", "/delay 60ms /daemonize "+words, map[string]any{"stream": true})

	var mu sync.Mutex
	first := map[string]*Answer{}
	seen := make(chan struct{}, streams)
	var clients sync.WaitGroup
	for i := range streams {
		id := fmt.Sprint("durable-", i)
		clients.Go(func() {
			once := sync.OnceFunc(func() { seen <- struct{}{} })
			a, _ := d.Durable(context.Background(), id, "", body, func(a *Answer) {
				if strings.Count(a.Text, " ") > i%7 { // words that come together share a delta
					once()
				}
			})
			mu.Lock()
			defer mu.Unlock()
			first[id] = a
		})
	}
	for range streams {
		select {
		case <-seen:
		case <-time.After(20 * time.Second):
			t.Fatal("not all streams began within 20 s")
		}
	}
	pids := map[string][]int{}
	for i := range streams {
		pids[fmt.Sprint("durable-", i)] = d.Pids(fmt.Sprint("durable-", i))
	}
	if err := d.Cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-d.Exited()
	clients.Wait()

	again := d.Restart(t)
	for id, before := range pids {
		for _, pid := range before {
			if !slices.Contains(again.Pids(id), pid) {
				t.Errorf("%s: process %d is lost", id, pid)
			}
		}
	}
	for i := range streams {
		id := fmt.Sprint("durable-", i)
		clients.Go(func() {
			a := first[id]
			last := a.IDs[len(a.IDs)-1]
			rest, err := again.Durable(context.Background(), id, last, body, nil)
			if err != nil || rest.Error != nil || rest.Finish != "stop" || !rest.Done {
				t.Errorf("%s: %v %+v", id, err, rest)
				return
			}
			if got := strings.TrimSpace(a.Text + rest.Text); got != want {
				t.Errorf("%s: %q after event %s and %q make no whole", id, rest.Text, last, a.Text)
			}
			if ids := slices.Concat(a.IDs, rest.IDs); len(slices.Compact(slices.Clone(ids))) != len(ids) {
				t.Errorf("%s: an event came twice: %v", id, ids)
			}
		})
	}
	clients.Wait()
	if err := again.WaitEmpty(2 * time.Second); err != nil {
		t.Error(err)
	}
	if err := Eventually(2*time.Second, func() error { // a group goes before its slot
		if q, _ := mustHealth(t, again)["queue"].(map[string]any); q["running"] != 0.0 {
			return fmt.Errorf("slots still held: %v", q)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}

	// The whole again, and another request under the same name.
	whole, err := again.Durable(context.Background(), "durable-3", "", body, nil)
	if err != nil || strings.TrimSpace(whole.Text) != want || whole.Finish != "stop" {
		t.Errorf("replay: %v %+v", err, whole)
	}
	body["stream"] = false
	other, err := again.Durable(context.Background(), "durable-3", "", Body("demo", "something else", nil), nil)
	if err != nil || other.Status != http.StatusConflict {
		t.Errorf("another request under the same name: %v %+v", err, other)
	}
}

// A durable run that ends while no daemon is there is told by what it said.
func TestDurableRunEndsWithoutADaemon(t *testing.T) {
	d := Start(t, Options{Config: "[limits]\nmemory_max = \"64MiB\"\n"})
	body := Body("demo", "some words /sleep 1", map[string]any{"stream": true})
	silent := Body("demo", "/sleep 60", map[string]any{"stream": true})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	clients.Go(func() { _, _ = d.Durable(ctx, "talks", "", body, nil) })
	clients.Go(func() { _, _ = d.Durable(ctx, "silent", "", silent, nil) })
	if err := Eventually(10*time.Second, func() error {
		if len(d.Pids("talks")) == 0 || len(d.Pids("silent")) == 0 {
			return fmt.Errorf("not started")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	leader, root := d.Pids("silent")[0], d.Root()
	if err := d.Cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-d.Exited()
	clients.Wait()
	if err := syscall.Kill(leader, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := Eventually(20*time.Second, func() error {
		if pids := pidsIn(root, "talks"); len(pids) > 0 {
			return fmt.Errorf("processes %v", pids)
		}
		return nil
	}); err != nil {
		t.Fatalf("the first one's own end: %v", err)
	}

	again := d.Restart(t)
	whole, err := again.Durable(t.Context(), "talks", "", body, nil)
	if err != nil || strings.TrimSpace(whole.Text) != "some words" || whole.Finish != "stop" {
		t.Errorf("ended by itself: %v %+v", err, whole)
	}
	lost, err := again.Durable(t.Context(), "silent", "", silent, nil)
	if err != nil || lost.Code() != "lost" || !lost.Done {
		t.Errorf("ended without a word: %v %+v", err, lost)
	}
}

// A daemon that is killed as soon as its run is born has had no time to note
// anything of it: the next one finds it in its group.
func TestKilledAtBirth(t *testing.T) {
	d := Start(t, Options{Config: "[limits]\nmemory_max = \"64MiB\"\n"})
	root := d.Root()
	for i := range 6 {
		id := fmt.Sprint("born-", i)
		body := Body("demo", "/sleep 600", map[string]any{"stream": true})
		over := make(chan struct{})
		go func() {
			defer close(over)
			_, _ = d.Durable(t.Context(), id, "", body, nil)
		}()
		var pids []int
		for end := time.Now().Add(20 * time.Second); len(pids) == 0; pids = pidsIn(root, id) {
			if time.Now().After(end) {
				t.Fatal("not born")
			}
		}
		if err := d.Cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-d.Exited()
		<-over
		// Between its birth and its execve the child has the daemon's socket, too.
		if err := Eventually(10*time.Second, func() error {
			l, err := net.Listen("tcp", strings.TrimPrefix(d.URL, "http://"))
			if err == nil {
				err = l.Close()
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		d = d.Restart(t)
		d.wantAlive(id, pids[0])
		if _, r, err := d.Get("/v1/runs/" + id); err != nil || r["state"] != "running" {
			t.Errorf("%s: %v %v", id, r, err)
		}
		resp, err := Post(d.URL+"/v1/runs/"+id+"/cancel", "")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if err := d.WaitEmpty(10 * time.Second); err != nil {
			t.Error(err)
		}
	}
}

// What a daemon of the version before has left lay where its run could write. It is
// adopted, and gets nothing that the configuration doesn't give.
func TestForgedCheckpointIsHeldToTheConfiguration(t *testing.T) {
	d := Start(t, Options{Config: "[limits]\nmemory_max = \"64MiB\"\npids_max = 50\ntimeout = \"10s\"\n"})
	body := Body("demo", "/sleep 600", map[string]any{"stream": true})
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = d.Durable(t.Context(), "forger", "", body, nil)
	}()
	pid := d.background("forger")
	if err := d.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-d.Exited()
	<-over
	store, own := filepath.Join(d.Dir, "state", "store"), filepath.Join(d.Dir, "state", "runs", "forger")
	for from, c := range map[string]struct {
		to    string
		forge map[string]any
	}{
		"run.json": {"run.json", map[string]any{"limits": map[string]any{}, "started_at": time.Now().Add(time.Hour)}},
		"checkpoint.json": {"will.json", map[string]any{
			"deadline": "0001-01-01T00:00:00Z", "output_max": 1 << 60, "line_max": 1 << 60, "grace": int64(time.Hour), "stall": 0,
		}},
	} {
		var all map[string]any
		text, err := os.ReadFile(filepath.Join(store, "runs", "forger", from))
		if err == nil {
			err = json.Unmarshal(text, &all)
		}
		maps.Copy(all, c.forge)
		if err == nil {
			text, err = json.Marshal(all)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(own, c.to), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	d = d.Restart(t)
	d.wantAlive("forger", pid)
	_, r, err := d.Get("/v1/runs/forger")
	limits, _ := r["limits"].(map[string]any)
	memory, _ := limits["memory"].(map[string]any)
	pids, _ := limits["pids"].(map[string]any)
	if err != nil || memory["limit"] != float64(64<<20) || pids["limit"] != 50.0 {
		t.Errorf("its limits are %v, %v", limits, err)
	}
	if m, _ := mustHealth(t, d)["memory"].(map[string]any); m["reserved_bytes"] != float64(64<<20) {
		t.Errorf("reserved: %v", m)
	}
	if err := Eventually(60*time.Second, func() error {
		_, r, err := d.Get("/v1/runs/forger")
		if err == nil && r["cause"] != "timeout" {
			err = fmt.Errorf("%v %v", r["state"], r["cause"])
		}
		return err
	}); err != nil {
		t.Errorf("its deadline: %v", err)
	}
}

func mustHealth(t *testing.T, d *Daemon) map[string]any {
	t.Helper()
	h, err := d.Health()
	if err != nil {
		t.Fatal(err)
	}
	return h
}
