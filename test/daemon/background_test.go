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
