package chaos

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"penstock/test/daemon"
)

// work is a run that computes and writes at its own pace: the same every time.
const work = `i=0; s=7
while [ $i -lt 240 ]; do
  i=$((i+1)); s=$(( (s*1103515245 + 12345 + i) % 2147483648 )); echo "line $i $s"
  if [ $((i % 40)) = 0 ]; then echo "sum $(echo $s | sha256sum)"; sleep 0.1; fi
done`

// Runs that eat memory up to their caps, one after another, beside eight that
// work: the eight answer byte for byte as if undisturbed, the host keeps what
// was not promised away, and the daemon neither waits for memory nor for a processor.
func TestHogBesideWorkers(t *testing.T) {
	const workers = 8
	w := open(t, "100%", []string{free})
	want := w.works(t)
	calm := w.healthWhile(t, func() { w.together(t, workers, want) })

	held := int64(available(t))
	stop := make(chan struct{})
	var watchers sync.WaitGroup
	var lowest atomic.Int64
	lowest.Store(held)
	watchers.Go(func() {
		for !isClosed(stop) {
			lowest.Store(min(lowest.Load(), int64(available(t))))
			time.Sleep(20 * time.Millisecond)
		}
	})
	eaten := 0
	stormy := w.healthWhile(t, func() {
		busy := make(chan struct{})
		watchers.Go(func() { w.together(t, workers, want); close(busy) })
		for !isClosed(busy) {
			w.eats(t, eaten)
			eaten++
		}
	})
	close(stop)
	watchers.Wait()

	// Nine caps are promised; the rest is the host's.
	promised := int64((workers + 1) * 64 << 20)
	if low := lowest.Load(); low < held-promised {
		t.Errorf("MemAvailable fell from %d to %d MiB, with %d MiB promised", held>>20, low>>20, promised>>20)
	}
	if eaten < 1 {
		t.Error("no run ate its memory meanwhile")
	}
	if w.kernel {
		w.daemonUntouched(t)
	}
	a, b := percentile(calm, 99), percentile(stormy, 99)
	t.Logf("%d hogs; MemAvailable %d MiB, lowest %d; GET /health p50/p99 %v/%v undisturbed (%d asked), %v/%v beside hogs (%d)",
		eaten, held>>20, lowest.Load()>>20, percentile(calm, 50), a, len(calm), percentile(stormy, 50), b, len(stormy))
	if b > max(10*a, 500*time.Millisecond) {
		t.Errorf("GET /health p99 %v beside hogs, %v undisturbed", b, a)
	}
	w.nothingRuns(t)
}

// works is the answer of one undisturbed working run.
func (w *world) works(t *testing.T) [32]byte {
	t.Helper()
	a, err := daemon.Read(w.request(t.Context(), free, daemon.Body("sh", work, map[string]any{"stream": true})), nil)
	if err != nil || a.Finish != "stop" || len(a.Text) < 2000 {
		t.Fatalf("undisturbed: %+v, %v", a, err)
	}
	return sha256.Sum256([]byte(a.Text))
}

func (w *world) together(t *testing.T, workers int, want [32]byte) {
	var crew sync.WaitGroup
	for i := range workers {
		crew.Go(func() {
			ctx, stop := context.WithTimeout(t.Context(), patience)
			defer stop()
			a, err := daemon.Read(w.request(ctx, free, daemon.Body("sh", work, map[string]any{"stream": i%2 == 0})), nil)
			if err != nil || a.Finish != "stop" {
				t.Errorf("worker %d: %+v, %v", i, a, err)
			} else if sha256.Sum256([]byte(a.Text)) != want {
				t.Errorf("worker %d answered otherwise than undisturbed: %d bytes", i, len(a.Text))
			}
		})
	}
	crew.Wait()
}

// eats is one run that grows in steps to its cap, and over it.
func (w *world) eats(t *testing.T, i int) {
	p := plan{name: "hog", tag: fmt.Sprintf("hog%d", i), backend: "demo", stream: true, prompt: "/alloc 20MiB /alloc 20MiB /alloc 30MiB /alloc 30MiB never",
		want: end{cause: "memory_limit", signal: "SIGKILL", says: []string{"64 MiB"}}}
	if !w.kernel {
		p.prompt = "/alloc 100MiB /sleep 30"
	}
	if _, err := w.perform(p, free).verify(); err != nil {
		t.Errorf("hog %d: %v", i, err)
	}
}

// healthWhile asks for /health all the time and returns how long each took.
func (w *world) healthWhile(t *testing.T, f func()) []time.Duration {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	var took []time.Duration
	for !isClosed(done) {
		begun := time.Now()
		resp, err := http.Get(w.URL + "/health")
		if err != nil {
			t.Error(err)
			break
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("GET /health: status %d", resp.StatusCode)
		}
		took = append(took, time.Since(begun))
		time.Sleep(10 * time.Millisecond)
	}
	<-done
	slices.Sort(took)
	return took
}

func percentile(sorted []time.Duration, n int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[len(sorted)*n/100].Round(10 * time.Microsecond)
}

// daemonUntouched: the daemon's own leaf has met no limit, and the budget's
// group none but those of the runs below it.
func (w *world) daemonUntouched(t *testing.T) {
	t.Helper()
	for key, n := range w.flat("daemon/memory.events") {
		if n != 0 {
			t.Errorf("the daemon's memory.events: %s %v", key, n)
		}
	}
	if n := w.flat("daemon/cpu.stat")["nr_throttled"]; n != 0 {
		t.Errorf("the daemon was throttled %v times", n)
	}
	if local := filepath.Join(w.root, "runs/memory.events.local"); flat(t, local)["oom"] != 0 {
		text, _ := os.ReadFile(local)
		t.Errorf("the group of all runs ran out of memory: %s", text)
	}
}

// nothingRuns waits until no group and no child is left.
func (w *world) nothingRuns(t *testing.T) {
	t.Helper()
	if err := until(goneWithin, func() error {
		if g, p := w.Groups(), w.marked(); len(g)+len(p) > 0 {
			return fmt.Errorf("left: groups %v, processes %v", g, p)
		}
		if n := sum(w.metrics(), "penstock_reserved_memory_bytes"); n != 0 {
			return fmt.Errorf("%v bytes reserved by nobody", n)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
