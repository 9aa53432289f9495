package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// handoverConfig leaves no run time to finish.
const handoverConfig = `
drain_timeout = "1s"
[limits]
memory_max = "64MiB"
[budget]
memory = "100%"
max_runs = 24
`

// status is a field of /proc/PID/status.
func (d *Daemon) status(field string) string {
	d.tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.Cmd.Process.Pid))
	if err != nil {
		d.tb.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + field + `:\s+(\S+)`).FindSubmatch(text)
	if m == nil {
		d.tb.Fatalf("no %s in the status", field)
	}
	return string(m[1])
}

// background starts a durable run that lasts, and waits until it is there.
func (d *Daemon) background(id string) (pid int) {
	d.tb.Helper()
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	go func() {
		_, _ = d.Durable(ctx, id, "", Body("demo", "/sleep 600", map[string]any{"stream": true}), nil)
	}()
	if err := Eventually(handoverMax, func() error {
		if len(d.Pids(id)) == 0 {
			return errors.New("not started")
		}
		return nil
	}); err != nil {
		d.tb.Fatal(err)
	}
	return d.Pids(id)[0]
}

func (d *Daemon) wantAlive(id string, pid int) {
	d.tb.Helper()
	if at := d.Pids(id); !slices.Contains(at, pid) {
		d.tb.Errorf("%s: process %d is lost: %v\n%s", id, pid, at, d.Log())
	}
}

// visitor asks for /health all the time, each time over a new connection, until
// the function it gives is called, which says how often and what went wrong.
func (d *Daemon) visitor() (leave func() (visits int, err error)) {
	ctx, cancel := context.WithCancel(context.Background())
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	done := make(chan struct{})
	var visits int
	var failed error
	go func() {
		defer close(done)
		pause := time.NewTicker(2 * time.Millisecond)
		defer pause.Stop()
		for ; ctx.Err() == nil && failed == nil; <-pause.C {
			resp, err := client.Get(d.URL + "/health")
			if err != nil {
				failed = err
				return
			}
			_, failed = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			visits++
		}
	}()
	return func() (int, error) {
		cancel()
		<-done
		return visits, failed
	}
}

// The daemon is replaced under 20 durable streams: every client gets the rest
// of its stream, each event once, exit statuses are known, and nobody who comes
// meanwhile is refused.
func TestHandover(t *testing.T) {
	streams, rounds := 20, 20
	if os.Getenv("PENSTOCK_LAB") == "1" {
		streams, rounds = 8, 40 // one slow processor: none may end before the last has begun
	}
	d := Start(t, Options{Config: handoverConfig})
	words := strings.Repeat("one two three four five ", rounds)
	body := func(i int) map[string]any {
		prompt := "/delay 60ms /daemonize " + words
		if i%5 == 0 {
			prompt += "/exit 3"
		}
		return Body("demo", prompt, map[string]any{"stream": true})
	}
	name := func(i int) string { return fmt.Sprint("durable-", i) }
	before := map[string]string{}
	for _, field := range []string{"NoNewPrivs", "Seccomp", "CapEff", "Uid", "SigIgn"} {
		before[field] = d.status(field)
	}

	first := make([]*Answer, streams)
	seen := make(chan struct{}, streams)
	var clients sync.WaitGroup
	for i := range streams {
		clients.Go(func() {
			once := sync.OnceFunc(func() { seen <- struct{}{} })
			a, err := d.Durable(context.Background(), name(i), "", body(i), func(a *Answer) {
				if strings.Count(a.Text, " ") > i%7 { // words that come together share a delta
					once()
				}
			})
			if err != nil {
				t.Errorf("%s: %v", name(i), err)
			}
			first[i] = a
		})
	}
	for range streams {
		select {
		case <-seen:
		case <-time.After(handoverMax):
			t.Fatal("not all streams began")
		}
	}
	pids := make([][]int, streams)
	for i := range streams {
		pids[i] = d.Pids(name(i))
	}
	leave := d.visitor()
	d.HandOver()
	for i, old := range pids {
		if _, r, _ := d.Get("/v1/runs/" + name(i)); r["state"] == "finished" {
			t.Logf("%s: had finished", name(i))
			continue
		}
		for _, pid := range old {
			if at := d.Pids(name(i)); len(at) > 0 && !slices.Contains(at, pid) {
				t.Errorf("%s: process %d is lost", name(i), pid)
			}
		}
	}
	clients.Wait()
	adopted := 0
	for i, a := range first {
		if a == nil || !a.Done || a.Code() != "shutting_down" && a.Code() != "cli_error" && a.Finish == "" {
			t.Fatalf("%s: cut off without a word: %+v", name(i), a)
		}
		clients.Go(func() { rest(t, d, name(i), body(i), a, strings.TrimSpace(words)) })
	}
	clients.Wait()
	for i := range streams {
		_, r, err := d.Get("/v1/runs/" + name(i))
		if err != nil || r["durable"] != true {
			t.Errorf("%s: %v %v", name(i), err, r)
		}
		if r["adopted"] == 1.0 {
			adopted++
		}
		want := 0.0
		if i%5 == 0 {
			want = 3
		}
		// A demo that has said its last word may be ended before it exits.
		if got, known := r["exit_code"]; known && got != want || i%5 == 0 && !known {
			t.Errorf("%s: exit code %v, want %v: %v", name(i), got, want, r)
		}
	}
	if adopted == 0 {
		t.Error("no run lived through the handover: it shows nothing")
	}
	visits, err := leave()
	if err != nil || visits == 0 {
		t.Errorf("who came meanwhile, %d times: %v", visits, err)
	}
	t.Logf("%d of %d runs adopted, %d visits", adopted, streams, visits)
	for field, was := range before {
		if is := d.status(field); is != was {
			t.Errorf("%s is %s, was %s", field, is, was)
		}
	}
	if err := d.WaitEmpty(handoverMax); err != nil {
		t.Error(err)
	}
}

// rest reads what a client has not had yet, and holds the whole to be whole.
func rest(t *testing.T, d *Daemon, id string, body map[string]any, a *Answer, want string) {
	last := ""
	if len(a.IDs) > 0 {
		last = a.IDs[len(a.IDs)-1]
	}
	rest, err := d.Durable(context.Background(), id, last, body, nil)
	if err != nil {
		t.Errorf("%s: %v", id, err)
		return
	}
	fails := strings.Contains(fmt.Sprint(body), "/exit 3")
	if !rest.Done || fails && rest.Code() != "cli_error" || !fails && rest.Finish != "stop" && a.Finish != "stop" {
		t.Errorf("%s: the rest ends as %+v", id, rest)
	}
	if got := strings.TrimSpace(a.Text + rest.Text); got != want {
		t.Errorf("%s: %q after event %s and %q make no whole", id, rest.Text, last, a.Text)
	}
	ids := slices.Concat(a.IDs, rest.IDs)
	if slices.Sort(ids); len(slices.Compact(slices.Clone(ids))) != len(ids) {
		t.Errorf("%s: an event came twice: %v", id, ids)
	}
}

// Who runs for a connection's sake may finish; who waits is told to come again.
func TestHandoverDrains(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	d := Start(t, Options{Config: strings.NewReplacer("max_runs = 24", "max_runs = 1", "1s", "10m").Replace(handoverConfig) +
		fmt.Sprintf("[backends.gated]\nkind = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", \"until [ -e %s ]; do sleep 0.1; done; echo finished\"]\n", gate)})
	answers := make(chan *Answer, 2)
	ask := func(model, prompt string, stream bool) {
		a, err := d.Chat(t.Context(), Body(model, prompt, map[string]any{"stream": stream}), nil)
		if err != nil {
			t.Error(err)
			a = new(Answer)
		}
		answers <- a
	}
	go ask("gated", "go", true)
	await := func(key string) {
		t.Helper()
		if err := Eventually(handoverMax, func() error {
			if q, _ := mustHealth(t, d)["queue"].(map[string]any); q[key] != 1.0 {
				return fmt.Errorf("queue %v", q)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	await("running")
	go ask("demo", "never", false)
	await("waiting")
	done := d.said("handed over")
	d.signal(syscall.SIGUSR2)
	if a := <-answers; a.Status != http.StatusServiceUnavailable || a.Code() != "shutting_down" || a.Header.Get("X-Should-Retry") != "true" || a.Header.Get("Retry-After") == "" {
		t.Errorf("who waited: %+v", a)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if a := <-answers; a.Finish != "stop" || strings.TrimSpace(a.Text) != "finished" {
		t.Errorf("who ran: %+v", a)
	}
	d.awaitSaid("handed over", done+1)
	if a, err := d.Chat(t.Context(), Body("demo", "again", nil), nil); err != nil || a.Finish != "stop" {
		t.Errorf("%v %+v", err, a)
	}
}

// A stop wins whenever it comes. In the few milliseconds that a program has no
// handlers of its own yet, SIGTERM ends it as a crash would: then the next one
// finds the run.
func TestStopDuringHandover(t *testing.T) {
	for i := range 10 {
		after := time.Duration(i*i) * time.Millisecond // to 81 ms: a handover takes about 50
		d := Start(t, Options{Config: handoverConfig})
		pid := d.background("ends")
		d.signal(syscall.SIGUSR2)
		<-time.After(after)
		d.signal(syscall.SIGTERM)
		select {
		case <-d.Exited():
		case <-time.After(handoverMax):
			t.Fatalf("stopped %v after: the daemon is still there\n%s", after, d.Log())
		}
		killed := d.Cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled()
		t.Logf("stopped %v after: %v, %d handovers", after, d.Cmd.ProcessState, d.said("handed over"))
		switch {
		case killed && d.said("handing over") > 0:
			again := d.Restart(t)
			again.wantAlive("ends", pid)
			again.Stop()
		case d.err != nil:
			t.Errorf("stopped %v after: %v\n%s", after, d.err, d.Log())
		}
		// Who was no child of ours is reaped by somebody else, in their own time.
		if err := Eventually(handoverMax, func() error {
			if syscall.Kill(pid, 0) == nil {
				return fmt.Errorf("process %d is left", pid)
			}
			return nil
		}); err != nil {
			t.Errorf("stopped %v after: %v\n%s", after, err, d.Log())
		}
	}
}

// Handover after handover, each asked for twice, costs nothing that stays.
func TestHandoversInARow(t *testing.T) {
	d := Start(t, Options{Config: handoverConfig})
	pids := map[string]int{}
	for i := range 3 {
		id := fmt.Sprint("stays-", i)
		pids[id] = d.background(id)
	}
	type cost struct{ fds, threads, rss int }
	look := func() (c cost) {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.Cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		c.fds = len(fds)
		c.threads, _ = strconv.Atoi(d.status("Threads"))
		c.rss, _ = strconv.Atoi(d.status("VmRSS"))
		return c
	}
	var costs []cost
	for range 5 {
		done := d.said("handed over")
		d.signal(syscall.SIGUSR2)
		d.signal(syscall.SIGUSR2)
		d.awaitSaid("handed over", done+1)
		// The second one may have come too late to be one with the first.
		if a, err := d.Chat(t.Context(), Body("demo", "hello", nil), nil); err != nil || a.Finish != "stop" && a.Code() != "shutting_down" {
			t.Errorf("%v %+v", err, a)
		}
		for id, pid := range pids {
			d.wantAlive(id, pid)
		}
		if err := d.waitReady(handoverMax); err != nil {
			t.Fatal(err)
		}
		costs = append(costs, look())
	}
	t.Logf("%+v", costs)
	first, last := costs[0], costs[len(costs)-1]
	if last.fds > first.fds+8 || last.threads > first.threads+8 || last.rss > 2*first.rss+16<<10 {
		t.Errorf("after the first %+v, after the last %+v", first, last)
	}
}
