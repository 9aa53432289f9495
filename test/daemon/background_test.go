package daemon

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// responseEvent is one of a response's stream.
type responseEvent struct {
	Type     string          `json:"type"`
	Number   int64           `json:"sequence_number"`
	Delta    string          `json:"delta"`
	Response *responseObject `json:"response"`
}

type responseObject struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Cause  string `json:"x_cause"`
	Output []struct {
		Content []struct {
			Text string `json:"text"`
		} `json:"content"`
	} `json:"output"`
}

func (r responseObject) text() (text string) {
	for _, item := range r.Output {
		for _, c := range item.Content {
			text += c.Text
		}
	}
	return text
}

// respond posts a request for a response and decodes what comes.
func respond(t *testing.T, d *Daemon, body map[string]any) (r responseObject) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(d.URL+"/v1/responses", "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return r
}

func getResponse(t *testing.T, d *Daemon, id string) (r responseObject) {
	t.Helper()
	resp, err := http.Get(d.URL + "/v1/responses/" + id)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %v", id, resp.Status, err)
	}
	return r
}

// responseStream reads the stream of a response after a number, up to most events; 0 is all. The
// connection's end is no error: the daemon may be killed.
func responseStream(t *testing.T, d *Daemon, id string, after int64, most int) (out []responseEvent) {
	t.Helper()
	url := fmt.Sprintf("%s/v1/responses/%s?stream=true", d.URL, id)
	if after >= 0 {
		url += fmt.Sprintf("&starting_after=%d", after)
	}
	resp, err := http.Get(url)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", url, resp.Status)
		return nil
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, found := strings.CutPrefix(lines.Text(), "data: ")
		if !found {
			continue
		}
		var e responseEvent
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Errorf("%v: %s", err, data)
		}
		out = append(out, e)
		if most > 0 && len(out) == most {
			return out
		}
	}
	return out
}

// Responses in the background outlive their client and the daemon: killed while one of them
// runs and one has just begun to, it has a next one that brings each event once, from wherever
// its reader comes again.
func TestBackground_SurvivesTheDaemon(t *testing.T) {
	d := Start(t, Options{Config: "[limits]\nmemory_max = \"64MiB\"\n[budget]\nmemory = \"100%\"\nmax_runs = 2\n"})
	words := strings.TrimSpace(strings.Repeat("one two three four five ", 12))
	ask := map[string]any{"model": "demo", "input": "/delay 60ms " + words, "background": true}
	block := respond(t, d, map[string]any{"model": "demo", "input": "/delay 400ms a b c", "background": true})
	running := respond(t, d, ask)
	queued := respond(t, d, ask) // until the first is over
	if r := getResponse(t, d, queued.ID); r.Status != "queued" {
		t.Errorf("the third of two: %s", r.Status)
	}
	live := map[string][]responseEvent{}
	var mu sync.Mutex
	var readers sync.WaitGroup
	for id, most := range map[string]int{running.ID: 8, queued.ID: 6} {
		readers.Go(func() {
			seen := responseStream(t, d, id, -1, most)
			mu.Lock()
			defer mu.Unlock()
			live[id] = seen
		})
	}
	readers.Wait()
	if e := live[queued.ID]; len(e) < 2 || e[1].Type != "response.queued" || e[1].Number != 1 {
		t.Errorf("queued: %+v", e)
	}
	if err := d.Cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-d.Exited()
	again := d.Restart(t)
	for _, id := range []string{running.ID, queued.ID} {
		before := live[id]
		if len(before) == 0 {
			t.Fatalf("%s: no events", id)
		}
		rest := responseStream(t, again, id, before[len(before)-1].Number, 0)
		text, last := "", int64(-1)
		for _, e := range append(before, rest...) {
			if e.Number <= last {
				t.Errorf("%s: %s %d after %d", id, e.Type, e.Number, last)
			}
			last = e.Number
			text += e.Delta
		}
		end := rest[len(rest)-1]
		if strings.TrimSpace(text) != words || end.Type != "response.completed" || strings.TrimSpace(end.Response.text()) != words {
			t.Errorf("%s: %q, ended by %s", id, text, end.Type)
		}
		// Live or read again, and however its deltas are put together: the same events, but for those.
		whole := responseStream(t, again, id, -1, 0)
		for i, e := range whole[:len(whole)-1] {
			next := responseStream(t, again, id, e.Number, 1)
			if len(next) != 1 || next[0].Number != whole[i+1].Number {
				t.Errorf("%s: after %d comes %+v, not %d", id, e.Number, next, whole[i+1].Number)
			}
		}
		if r := getResponse(t, again, id); r.Status != "completed" || strings.TrimSpace(r.text()) != words {
			t.Errorf("%s: %+v", id, r)
		}
	}
	if r := getResponse(t, again, block.ID); r.Status != "completed" {
		t.Errorf("%+v", r)
	}
	if err := again.WaitEmpty(2 * time.Second); err != nil {
		t.Error(err)
	}
}

// kill ends the daemon as the kernel does.
func (d *Daemon) kill() {
	d.tb.Helper()
	d.signal(syscall.SIGKILL)
	<-d.exited
}

// settled waits until a response is over.
func settled(t *testing.T, d *Daemon, id string) (r responseObject) {
	t.Helper()
	if err := Eventually(30*time.Second, func() error {
		if r = getResponse(t, d, id); r.Status == "queued" || r.Status == "in_progress" {
			return fmt.Errorf("%s: %s", id, r.Status)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	return r
}

// onceEach holds that what was read before and what comes after it are all events of a response,
// each once and in their order.
func onceEach(t *testing.T, d *Daemon, id string, before []responseEvent) (all []responseEvent) {
	t.Helper()
	after := int64(-1)
	if len(before) > 0 {
		after = before[len(before)-1].Number
	}
	all = append(before, responseStream(t, d, id, after, 0)...)
	last := int64(-1)
	for i, e := range all {
		if e.Number <= last || e.Type == "response.queued" && e.Number != 1 || (e.Type == "response.created") != (i == 0) {
			t.Errorf("%s: %s %d after %d", id, e.Type, e.Number, last)
		}
		last = e.Number
	}
	return all
}

// A response that was answered as queued is started by the next daemon, whatever it waited for and
// however this one ends: in the order in which they came, each once.
func TestBackground_LeftWhileQueued(t *testing.T) {
	for name, row := range map[string]struct {
		end     func(*testing.T, *Daemon) *Daemon
		session bool
	}{
		"killed, for a slot":       {func(t *testing.T, d *Daemon) *Daemon { d.kill(); return d.Restart(t) }, false},
		"killed, for its session":  {func(t *testing.T, d *Daemon) *Daemon { d.kill(); return d.Restart(t) }, true},
		"stopped, for a slot":      {func(t *testing.T, d *Daemon) *Daemon { d.Stop(); return d.Restart(t) }, false},
		"handed over, for a slot":  {func(_ *testing.T, d *Daemon) *Daemon { d.HandOver(); return d }, false},
		"handed over, for session": {func(_ *testing.T, d *Daemon) *Daemon { d.HandOver(); return d }, true},
	} {
		t.Run(name, func(t *testing.T) {
			most := 1
			extra := func(input string) map[string]any {
				body := map[string]any{"model": "demo", "input": input, "background": true}
				if row.session {
					body["session_id"] = "talk"
				}
				return body
			}
			if row.session {
				most = 4
			}
			d := Start(t, Options{Config: fmt.Sprintf("drain_timeout = \"1s\"\n[limits]\nmemory_max = \"64MiB\"\n[budget]\nmemory = \"100%%\"\nmax_runs = %d\n", most)})
			first := respond(t, d, extra("/delay 300ms a b c d e f g h"))
			one, two := respond(t, d, extra("first words")), respond(t, d, extra("second words"))
			responseStream(t, d, first.ID, -1, 5) // it has said a word: one that is killed at its birth may be lost
			before := responseStream(t, d, one.ID, -1, 1)
			again := row.end(t, d)
			for id, want := range map[string]string{one.ID: "first words", two.ID: "second words"} {
				if r := settled(t, again, id); r.Status != "completed" || strings.TrimSpace(r.text()) != want {
					t.Errorf("%+v", r)
				}
			}
			all := onceEach(t, again, one.ID, before)
			if end := all[len(all)-1]; end.Type != "response.completed" {
				t.Errorf("%+v", all)
			}
			onceEach(t, again, two.ID, nil)
			var ended []time.Time
			for _, r := range []responseObject{one, two} {
				_, record, err := again.Get("/v1/runs/" + strings.TrimPrefix(r.ID, "resp_"))
				if err != nil {
					t.Fatal(err)
				}
				at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(record["started_at"]))
				if err != nil {
					t.Errorf("%v: %v", err, record)
				}
				ended = append(ended, at)
			}
			if ended[1].Before(ended[0]) {
				t.Errorf("the second was started first: %v", ended)
			}
			if r := settled(t, again, first.ID); r.Status != "completed" && !strings.HasPrefix(name, "stopped") {
				t.Errorf("the one before them: %+v", r)
			}
			if err := again.WaitEmpty(5 * time.Second); err != nil {
				t.Error(err)
			}
		})
	}
}

// A response that is refused after it was answered as queued tells that, here and after a crash.
func TestBackground_RefusedLater(t *testing.T) {
	d := Start(t, Options{Config: "[limits]\nmemory_max = \"64MiB\"\n[budget]\nmemory = \"100%\"\nmax_runs = 1\n[queue]\nmax_wait = \"1s\"\n"})
	respond(t, d, map[string]any{"model": "demo", "input": "/sleep 600", "background": true})
	late := respond(t, d, map[string]any{"model": "demo", "input": "late", "background": true})
	unwanted := respond(t, d, map[string]any{"model": "demo", "input": "unwanted", "background": true})
	if resp, err := Post(d.URL+"/v1/responses/"+unwanted.ID+"/cancel", ""); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", resp, err)
	}
	check := func(d *Daemon) {
		t.Helper()
		if r := settled(t, d, late.ID); r.Status != "failed" || r.Cause != "queue_timeout" {
			t.Errorf("%+v", r)
		}
		if r := settled(t, d, unwanted.ID); r.Status != "cancelled" || r.Cause != "cancelled" {
			t.Errorf("%+v", r)
		}
		for _, id := range []string{late.ID, unwanted.ID} {
			all := onceEach(t, d, id, nil)
			if len(all) < 3 || all[len(all)-2].Type != "response.failed" || all[len(all)-1].Type != "error" {
				t.Errorf("%+v", all)
			}
		}
	}
	check(d)
	d.kill()
	check(d.Restart(t))
}
