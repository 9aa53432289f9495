package chaos

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
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

const budget = 256 << 20

// Requests of random limits, at random times, by several clients: at no moment
// do the limits of the groups that exist sum to more than the budget, and the
// group above them holds it as its own.
func TestBudgetIsNeverPassed(t *testing.T) {
	const callers, each, enough = 8, 15, 20 * time.Second
	_, seed := environment(t)
	t.Logf("seed %d", seed)
	w := open(t, "256MiB", []string{free, "narrow0", "narrow1"})
	if !w.kernel {
		t.Skip("this machine's groups have no memory.max to read")
	}
	stop, watched := make(chan struct{}), make(chan struct{})
	var most float64
	looks := 0
	go func() {
		defer close(watched)
		for !isClosed(stop) {
			if sum, groups, ok := w.limitsNow(t); ok {
				looks++
				most = max(most, sum)
				if sum > budget {
					t.Errorf("limits of %v sum to %.0f MiB: the budget is %d", groups, sum/(1<<20), budget>>20)
				}
			}
		}
	}()
	var crew sync.WaitGroup
	var asked atomic.Int64
	begun := time.Now()
	for i := range callers {
		crew.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for range each {
				if time.Since(begun) > enough {
					return
				}
				asked.Add(1)
				w.random(t, r, []string{free, free, "narrow0", "narrow1"}[r.IntN(4)])
			}
		})
	}
	crew.Wait()
	close(stop)
	<-watched
	t.Logf("%d runs, %d looks, at most %.0f of %d MiB", asked.Load(), looks, most/(1<<20), budget>>20)
	if most < budget/2 {
		t.Errorf("at most %.0f MiB were handed out: the budget was never put to the test", most/(1<<20))
	}
	w.nothingRuns(t)
	w.daemonUntouched(t)
}

// random asks for a run of random limit and length; one in four leaves early.
func (w *world) random(t *testing.T, r *rand.Rand, client string) {
	time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
	body := limits("memory_max", fmt.Sprintf("%dMiB", 32+r.IntN(33)))
	body["stream"] = either(r)
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	early := r.IntN(4) == 0
	if early {
		time.AfterFunc(time.Duration(r.IntN(300))*time.Millisecond, stop)
	}
	a, err := daemon.Read(w.request(ctx, client, daemon.Body("sh", fmt.Sprintf("sleep 0.%d; echo done", r.IntN(6)), body)), nil)
	if err == nil && (a.Finish != "stop" || a.Text != "done\n") || err != nil && !early {
		t.Errorf("%+v %v", a, err)
	}
}

// limitsNow sums memory.max of all runs' groups. It counts only where all of
// them were still there after the last was read: then they existed together.
func (w *world) limitsNow(t *testing.T) (total float64, groups []string, ok bool) {
	if all, err := w.number("runs/memory.max"); err != nil || all != budget {
		t.Errorf("runs/memory.max is %.0f (%v), want %d", all, err, budget)
	}
	entries, err := os.ReadDir(filepath.Join(w.root, "runs"))
	if err != nil {
		t.Error(err)
		return 0, nil, false
	}
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), "probe_") {
			continue
		}
		born := w.pids(e.Name()) // before the limit is looked at, which comes first
		v, err := w.number("runs/" + e.Name() + "/memory.max")
		if errors.Is(err, fs.ErrNotExist) || err != nil && strings.Contains(err.Error(), "no such device") {
			return 0, nil, false
		}
		if err != nil {
			t.Error(err)
		}
		if math.IsInf(v, 1) {
			if len(born) > 0 {
				t.Errorf("run %s has processes %v and no memory.max", e.Name(), born)
			}
			continue
		}
		total += v
		groups = append(groups, fmt.Sprintf("%s:%.0fMiB", e.Name(), v/(1<<20)))
	}
	for _, e := range entries {
		if e.IsDir() && !w.exists(e.Name()) {
			return 0, nil, false
		}
	}
	return total, groups, true
}

// The whole budget is handed out and everybody fills his part at once, then
// everybody passes it: who fits answers, who doesn't is told of his own limit,
// and the daemon and the host live.
func TestAllAtTheirCaps(t *testing.T) {
	const runs, limit = 8, "32MiB" // together the budget
	w := open(t, "256MiB", []string{free})
	if !w.kernel {
		t.Skip("a watch holds the budget after the fact: what is passed in between can't be told beforehand")
	}
	before := available(t)
	gate := filepath.Join(w.Dir, "gate")
	fits := end{cause: "completed", text: exactly("fits\n"), survived: 2}
	at := func(mib int, want end) []plan {
		var plans []plan
		for i := range runs {
			plans = append(plans, plan{name: "hungry", tag: fmt.Sprintf("%d-%d", mib, i), backend: "sh", stream: i%2 == 0, extra: limits("memory_max", limit),
				prompt: fmt.Sprintf("%s &\nwhile [ ! -e %s ]; do sleep 0.2; done; echo fits", keep(mib), gate), want: want})
		}
		return plans
	}
	for _, step := range []struct {
		name  string
		plans []plan
		stay  int // runs that fit
		mib   int // and so much of each
	}{
		{"below", at(24, fits), runs, 24},
		{"at", at(30, fits), runs, 30},
		{"over", at(100, outOfMemory("")), 0, 0},
		{"mixed", append(at(24, fits)[:runs/2], at(100, outOfMemory(""))[runs/2:]...), runs / 2, 24},
	} {
		t.Run(step.name, func(t *testing.T) {
			defer os.Remove(gate)
			var crew sync.WaitGroup
			for _, p := range step.plans {
				crew.Go(func() {
					if _, err := w.perform(p, free).verify(); err != nil {
						t.Errorf("%s: %v", p.tag, err)
					}
				})
			}
			lowest, highest, done := before, 0.0, make(chan struct{})
			go func() { crew.Wait(); close(done) }()
			for !isClosed(done) {
				if w.full(t, step.stay, step.mib) {
					write(t, gate, "", 0o644)
				}
				used, _ := w.number("runs/memory.current")
				lowest, highest = min(lowest, available(t)), max(highest, used)
				if h, err := w.Health(); err != nil || h["status"] == "wedged" {
					t.Errorf("health %v, %v", h["status"], err)
				}
				time.Sleep(20 * time.Millisecond)
			}
			t.Logf("all runs together at most %.1f MiB, MemAvailable %.0f MiB before, lowest %.0f; oom of the budget's own group: %v",
				highest/(1<<20), before/(1<<20), lowest/(1<<20), w.flat("runs/memory.events.local")["oom"])
			if lowest < before-budget-16<<20 {
				t.Errorf("MemAvailable fell from %.0f to %.0f MiB", before/(1<<20), lowest/(1<<20))
			}
			w.daemonUntouched(t)
		})
	}
	w.nothingRuns(t)
}

// full tells that there are n runs and no others, and each holds so many MiB.
func (w *world) full(t *testing.T, n, mib int) bool {
	groups, err := filepath.Glob(filepath.Join(w.root, "runs/*/memory.current"))
	if err != nil {
		t.Error(err)
	}
	for _, file := range groups {
		text, _ := os.ReadFile(file)
		if held, err := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || held < mib<<20 {
			return false
		}
	}
	return n > 0 && len(groups) == n
}
