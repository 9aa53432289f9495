package load

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"penstock/test/daemon"
)

const (
	weighted = 10  // clients, of weight 1 to this
	greed    = 500 // requests the greedy client has waiting, always
	shared   = 4   // slots for all of these
	reserved = 2   // slots for the client that has them reserved
)

// Ten clients of weight 1 to 10 and one with 500 requests in the queue share
// the slots by their weights, no client starves, and the client whose slots are
// reserved doesn't notice the others.
func TestSharesOverHTTP(t *testing.T) {
	window, length := 12*time.Second, 100*time.Millisecond
	if os.Getenv("PENSTOCK_LONG") != "" {
		window = time.Minute
	}
	clients := map[string]int{"greedy": 1}
	total := 1
	for i := 1; i <= weighted; i++ {
		clients[fmt.Sprint("weight", i)] = i
		total += i
	}
	d := sharing(t, clients)

	ctx, cancel := context.WithCancel(context.Background())
	var gone sync.WaitGroup
	defer gone.Wait()
	defer cancel()
	prompt := fmt.Sprintf("/sleep %v word", length)
	completed := map[string]*atomic.Int64{}
	var waits sync.Mutex
	var alone []time.Duration // how long the reserved client's requests took
	for client := range clients {
		completed[client] = new(atomic.Int64)
		asking := 2 * shared // always one in the queue, whoever has its slots
		if client == "greedy" {
			asking = greed
		}
		for range asking {
			gone.Go(func() {
				for ctx.Err() == nil && completes(ctx, t, d, client, prompt) {
					completed[client].Add(1)
				}
			})
		}
	}
	if err := daemon.Eventually(time.Minute, func() error {
		for client := range clients {
			if n := d.Metric("penstock_queue_waiting", client+`"`); n < shared {
				return fmt.Errorf("%s has %v requests waiting", client, n)
			}
		}
		if n := d.Metric("penstock_queue_waiting", `"greedy"`); n < greed-shared {
			return fmt.Errorf("greedy has %v requests waiting", n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}

	for range reserved {
		gone.Go(func() {
			for ctx.Err() == nil {
				begun := time.Now()
				if !completes(ctx, t, d, "review", prompt) {
					return
				}
				waits.Lock()
				alone = append(alone, time.Since(begun))
				waits.Unlock()
			}
		})
	}
	before := map[string]int64{}
	for client, n := range completed {
		before[client] = n.Load()
	}
	time.Sleep(window)
	sum, got := int64(0), map[string]int64{}
	for client, n := range completed {
		got[client] = n.Load() - before[client]
		sum += got[client]
	}
	waits.Lock()
	reviewed := len(alone)
	waits.Unlock()

	t.Logf("%d runs completed in %v on %d slots, %d of the client with %d slots of its own", sum, window, shared, reviewed, reserved)
	worst := 0.0
	for client, weight := range clients {
		// Whole runs: those under way when the window begins may all be one client's.
		want := float64(sum) * float64(weight) / float64(total)
		off := math.Abs(float64(got[client]) - want)
		worst = max(worst, off/max(want, 15))
		t.Logf("%-8s weight %2d: %3d runs, its share is %.1f", client, weight, got[client], want)
		if off > max(shared+1, want/10) {
			t.Errorf("%s completed %d runs of %d, its share is %.1f", client, got[client], sum, want)
		}
		if got[client] == 0 {
			t.Errorf("%s was starved", client)
		}
	}
	p99 := d.quantile(t, "penstock_queue_wait_seconds", "review", 0.99)
	t.Logf("furthest from a share: %.1f %%; the reserved client's wait: p99 at most %v, the others' median %v", 100*worst, p99, d.quantile(t, "penstock_queue_wait_seconds", "greedy", 0.5))
	if p99 >= length {
		t.Errorf("the reserved client waited: p99 at most %v, a run takes %v", p99, length)
	}
	if reviewed < reserved*5 {
		t.Errorf("only %d runs of the reserved client", reviewed)
	}
}

// sharers is a daemon with tokens for its clients.
type sharers struct{ *daemon.Daemon }

func sharing(t *testing.T, clients map[string]int) sharers {
	t.Helper()
	var tokens, table strings.Builder
	fmt.Fprintf(&tokens, "review:%s\n", secret("review"))
	fmt.Fprintf(&table, "[clients.review]\nreserved_runs = %d\n", reserved)
	for client, weight := range clients {
		fmt.Fprintf(&tokens, "%s:%s\n", client, secret(client))
		fmt.Fprintf(&table, "[clients.%s]\nweight = %d\n", client, weight)
	}
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(tokens.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	d := daemon.Start(t, daemon.Options{Config: fmt.Sprintf(`
tokens_file = %q
drain_timeout = "1s"
[log]
level = "error"
[budget]
memory = "100%%"
max_runs = %d
[limits]
memory_max = "64MiB"
[queue]
max_waiting = %d
max_wait = "10m"
%s`, file, shared+reserved, greed+shared, table.String())})
	return sharers{d}
}

func secret(client string) string { return "the-secret-of-" + client }

// completes is false when the test is over.
func completes(ctx context.Context, t *testing.T, d sharers, client, prompt string) bool {
	req := d.Request(ctx, daemon.Body("demo", prompt, nil))
	req.Header.Set("Authorization", "Bearer "+secret(client))
	a, err := daemon.Read(req, nil)
	if ctx.Err() != nil {
		return false
	}
	if err != nil || a.Status != http.StatusOK || a.Error != nil {
		t.Errorf("%s: %v %+v", client, err, a)
		return false
	}
	return true
}

// Metric reads as one of the clients: with tokens /metrics is not open to all.
func (d sharers) Metric(name string, label string) float64 {
	for sample, v := range d.samples(name) {
		if strings.Contains(sample, label) {
			return v
		}
	}
	return 0
}

// quantile is the upper bound of the histogram's bucket in which it lies.
func (d sharers) quantile(t *testing.T, name, client string, q float64) time.Duration {
	t.Helper()
	label := fmt.Sprintf("client=%q", client)
	all := 0.0
	bound := math.Inf(1)
	buckets := d.samples(name + "_bucket")
	for sample, v := range buckets {
		if strings.Contains(sample, label) {
			all = max(all, v)
		}
	}
	for sample, v := range buckets {
		_, le, _ := strings.Cut(sample, `le="`)
		le, _, _ = strings.Cut(le, `"`)
		n, err := strconv.ParseFloat(le, 64)
		if err == nil && strings.Contains(sample, label) && v >= q*all {
			bound = min(bound, n)
		}
	}
	if all == 0 {
		t.Fatalf("%s has nothing of %s", name, client)
	}
	return time.Duration(bound * float64(time.Second))
}

// samples are those of one metric, by their labels.
func (d sharers) samples(name string) map[string]float64 {
	all := map[string]float64{}
	req, err := http.NewRequest(http.MethodGet, d.URL+"/metrics", nil)
	if err != nil {
		return all
	}
	req.Header.Set("Authorization", "Bearer "+secret("review"))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return all
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		sample, ok := strings.CutPrefix(lines.Text(), name+"{")
		if at := strings.LastIndexByte(sample, ' '); ok && at > 0 {
			if v, err := strconv.ParseFloat(sample[at+1:], 64); err == nil {
				all[sample[:at]] = v
			}
		}
	}
	return all
}
