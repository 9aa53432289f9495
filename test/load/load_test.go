package load

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"penstock/test/clis"
	"penstock/test/daemon"
	"penstock/test/model"
)

// 32 streams at once for 30 s, most of them demo runs that leave a daemonized
// child, the rest a real CLI: nothing is left and the daemon doesn't grow.
func TestThirtyTwoStreams(t *testing.T) {
	// The records of the last thousand runs are kept in memory; the load is
	// measured once they are there.
	const streams, real, warmup, length = 32, 4, 15 * time.Second, 30 * time.Second
	m := model.ForTest(t)
	dir := filepath.Join(daemon.Top(t), "test", "clis")
	commands, err := clis.Commands(dir)
	if err != nil {
		t.Fatalf("the real CLIs: %v", err)
	}
	home := t.TempDir()
	if err := clis.Seed(home, m.URL()); err != nil {
		t.Fatal(err)
	}
	codex, _ := json.Marshal(commands["codex"])
	d := daemon.Start(t, daemon.Options{Home: home, Env: map[string]string{"FAKE_API_KEY": "fake"}, Config: fmt.Sprintf(`
[limits]
memory_max = "512MiB"
[budget]
memory = "100%%"
max_runs = 32
[queue]
max_waiting = 64
[backends.codex]
command = %s
default_model = "fake-model"
env = ["FAKE_API_KEY"]
`, codex)})

	// One of each first, so that what is made once is there before counting.
	for _, name := range []string{"demo", "codex"} {
		if a, err := d.Chat(context.Background(), daemon.Body(name, "SCN=text warm up", map[string]any{"stream": true}), nil); err != nil || a.Error != nil {
			t.Fatalf("%s: %v %+v", name, err, a.Error)
		}
	}
	if err := d.WaitEmpty(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	fds := openFiles(t, d.Cmd.Process.Pid)

	ctx, cancel := context.WithTimeout(context.Background(), warmup+length)
	defer cancel()
	var done, failed atomic.Int64
	var clients sync.WaitGroup
	for i := range streams {
		name, prompt := "demo", "/daemonize some words to stream /delay 5ms and a few more of them"
		if i < real {
			name, prompt = "codex", "SCN=long N=20 DELAY=10"
		}
		clients.Go(func() {
			for ctx.Err() == nil {
				a, err := d.Chat(context.Background(), daemon.Body(name, prompt, map[string]any{"stream": true}), nil)
				if err != nil || a.Error != nil || a.Finish != "stop" || !a.Done {
					failed.Add(1)
					t.Errorf("%s: %v %+v", name, err, a)
					return
				}
				done.Add(1)
			}
		})
	}
	var early, late []float64
	begun := time.Now()
	for ctx.Err() == nil {
		time.Sleep(250 * time.Millisecond)
		rss := float64(resident(t, d.Cmd.Process.Pid))
		switch at := time.Since(begun) - warmup; {
		case at > 10*time.Second && at <= 20*time.Second:
			early = append(early, rss)
		case at > 20*time.Second:
			late = append(late, rss)
		}
	}
	clients.Wait()
	if err := d.WaitEmpty(2 * time.Second); err != nil {
		t.Errorf("left after the load: %v", err)
	}
	a, b := middle(early), middle(late)
	t.Logf("%d runs, %d failed; RSS median %.1f MiB in the 2nd 10 s, %.1f MiB in the last; fds %d before", done.Load(), failed.Load(), a/(1<<20), b/(1<<20), fds)
	if b > a*1.05 {
		t.Errorf("RSS grew from %.1f to %.1f MiB: more than 5 %%", a/(1<<20), b/(1<<20))
	}
	http.DefaultClient.CloseIdleConnections()
	if err := daemon.Eventually(5*time.Second, func() error {
		if now := openFiles(t, d.Cmd.Process.Pid); now > fds {
			return fmt.Errorf("%d descriptors, %d before the load", now, fds)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if done.Load() < streams {
		t.Errorf("only %d runs", done.Load())
	}
}

// Every slot busy and others waiting: /health answers fast and starts nothing.
func TestHealthUnderLoad(t *testing.T) {
	d := daemon.Start(t, daemon.Options{Config: `
[limits]
memory_max = "128MiB"
[budget]
max_runs = 8
[queue]
max_waiting = 16
`})
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	for range 12 {
		clients.Go(func() {
			_, _ = d.Chat(ctx, daemon.Body("demo", "words /sleep 60", map[string]any{"stream": true}), nil)
		})
	}
	defer clients.Wait()
	defer cancel()
	if err := daemon.Eventually(10*time.Second, func() error {
		h, err := d.Health()
		if err != nil {
			return err
		}
		q, _ := h["queue"].(map[string]any)
		if q["running"] != 8.0 || q["waiting"] != 4.0 || h["busy"] != true {
			return fmt.Errorf("queue %v busy %v", q, h["busy"])
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	const asks = 2000
	forks := forked(t)
	took := make([]float64, asks)
	for i := range took {
		begun := time.Now()
		resp, err := http.Get(d.URL + "/health")
		if err != nil {
			t.Fatal(err)
		}
		var h map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&h); err != nil || resp.StatusCode != 200 {
			t.Fatalf("status %d: %v", resp.StatusCode, err)
		}
		resp.Body.Close()
		took[i] = float64(time.Since(begun).Microseconds()) / 1000
	}
	forks = forked(t) - forks
	slices.Sort(took)
	p50, p99 := took[asks/2], took[asks*99/100]
	t.Logf("GET /health with every slot busy: p50 %.2f ms, p99 %.2f ms; %d clones on the whole machine during %d requests", p50, p99, forks, asks)
	if forks > asks/10 {
		t.Errorf("%d clones during %d health requests", forks, asks)
	}
	if p99 > 5 {
		t.Errorf("p99 %.2f ms: the bound of the specification is 5 ms", p99)
	}
}

func middle(n []float64) float64 {
	slices.Sort(n)
	return n[len(n)/2]
}

func openFiles(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func resident(t *testing.T, pid int) int64 {
	t.Helper()
	return 1024 * field(t, fmt.Sprintf("/proc/%d/status", pid), "VmRSS:")
}

// forked is how many tasks the kernel has made since boot (/proc/stat, processes).
func forked(t *testing.T) int64 {
	t.Helper()
	return field(t, "/proc/stat", "processes")
}

func field(t *testing.T, path, name string) int64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == name {
			n, err := strconv.ParseInt(words[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s has no %s", path, name)
	return 0
}
