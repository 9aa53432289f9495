package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Without PENSTOCK_CHAOS a row is as long as both of these allow: a busy
// machine gets fewer runs, not a failure.
const (
	shortRow  = 200
	shortTime = 30 * time.Second
)

// A long row of runs, several at once, each with a script picked by chance
// whose end is known: every cause is right, wherever it is told, and nothing is
// left of any.
func TestThousandRuns(t *testing.T) {
	const workers = 10
	runs, seed := environment(t)
	enough := time.Hour
	if runs == 0 {
		runs, enough = shortRow, shortTime
	}
	clients := []string{free}
	for i := range workers {
		clients = append(clients, fmt.Sprintf("narrow%d", i))
	}
	w := open(t, "100%", clients)
	scripts, left := usable(slices.Concat(plainScripts, limitScripts, endedScripts), w, os.Getenv("PENSTOCK_CHAOS_ONLY"))
	t.Logf("seed %d, %d runs, limits held by the kernel: %v; scripts this machine can't show: %v", seed, runs, w.kernel, left)

	w.warmUp(t, scripts)
	before, samples, memory := w.state(t), w.metrics(), available(t)
	book := newLedger(w)
	begun := time.Now()
	next := make(chan int)
	var crew sync.WaitGroup
	for i := range workers {
		crew.Go(func() {
			for n := range next {
				w.one(t, book, scripts, seed, n, clients[i+1])
			}
		})
	}
	done := 0
	for ; done < runs && time.Since(begun) < enough; done++ {
		next <- done
	}
	close(next)
	crew.Wait()
	took := time.Since(begun)
	w.nothingLeft(t, before)
	book.settle(t)
	book.audit(t, w, samples)
	if done < 2*workers {
		t.Errorf("only %d runs in %v", done, took)
	}
	t.Logf("%d runs in %.1f s, %d of them in an image, %d wrong; MemAvailable %.0f MiB before, %.0f after", done, took.Seconds(), w.inBox.Load(), book.wrong, memory/(1<<20), available(t)/(1<<20))
}

// one carries out run number n of a sequence.
func (w *world) one(t *testing.T, book *ledger, scripts []script, seed uint64, n int, narrow string) {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	s := choose(r, scripts)
	p := s.write(r, w)
	p.name, p.tag, p.stream = s.name, fmt.Sprintf("%d-%d", seed, n), either(r)
	p = w.box(p, seed, n)
	if !p.queued {
		book.enter(t, w.perform(p, free))
		return
	}
	front, back := w.performQueued(r, p, narrow)
	book.enter(t, front)
	if back != nil {
		book.enter(t, back)
	}
}

// warmUp lets happen what happens once: connections, buffers, pages of programs.
func (w *world) warmUp(t *testing.T, scripts []script) {
	book := newLedger(w)
	for i := range 6 {
		w.one(t, book, scripts[:1], 1, i, "")
	}
	if book.wrong > 0 {
		t.Fatalf("not even plain runs go well:\n%s", w.Log())
	}
}

// environment is what was asked for; 0 runs is nothing.
func environment(t *testing.T) (runs int, seed uint64) {
	t.Helper()
	seed = uint64(time.Now().UnixNano())
	if s := os.Getenv("PENSTOCK_CHAOS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		runs = n
	}
	if s := os.Getenv("PENSTOCK_CHAOS_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	return runs, seed
}
