package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Runs go out of memory all at once, others work, others wait, and in that
// moment the daemon is ended, softly or by SIGKILL. Every client that is told
// something is told the truth, the next daemon finds every run and ends what is
// left of it, and its records say what became of each.
func TestDaemonEndsInABurst(t *testing.T) {
	_, seed := environment(t)
	t.Logf("seed %d", seed)
	for i, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGKILL, syscall.SIGTERM} {
		t.Run(fmt.Sprintf("%d-%v", i, signal), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			w := open(t, "100%", []string{free, "narrow0"})
			b := w.burst(r)
			time.Sleep(time.Duration(r.IntN(900)) * time.Millisecond)
			if err := w.Cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			b.clients.Wait()
			<-w.Exited()
			if signal == syscall.SIGTERM {
				b.toldTheEnd(t, w)
			}
			w.Daemon = w.Restart(t)
			b.recorded(t, w, signal == syscall.SIGTERM)
			w.nothingRuns(t)
			for _, p := range b.again() {
				if _, err := w.perform(p, free).verify(); err != nil {
					t.Errorf("after the restart: %s: %v", p.name, err)
				}
			}
		})
	}
}

// burst is what is under way when the daemon ends.
type burst struct {
	hungry, held []*attempt
	queued       *attempt
	clients      sync.WaitGroup
}

// burst returns when all that can be is running, just before the memory is eaten.
func (w *world) burst(r *rand.Rand) *burst {
	b := &burst{}
	start := func(p plan, client string, n int) *attempt {
		p.tag, p.stream = fmt.Sprintf("%s-%d", p.name, n), either(r)
		if p.queued {
			p.stream = true
		}
		a := &attempt{}
		b.clients.Go(func() { *a = *w.perform(p, client) })
		return a
	}
	for n := range 6 {
		text, want := fmt.Sprintf("sleep 0.%d\n%s\necho survived", 3+r.IntN(4), eat(200)), outOfMemory("")
		if !w.kernel {
			text = "/sleep 400ms /alloc 200MiB /sleep 30"
		}
		b.hungry = append(b.hungry, start(plan{name: "hungry", backend: map[bool]string{true: "sh", false: "demo"}[w.kernel], prompt: text, extra: limits("memory_max", "40MiB"), want: want}, free, n))
	}
	for n := range 3 {
		client := free
		if n == 0 {
			client = "narrow0"
		}
		b.held = append(b.held, start(plan{name: "held", backend: "sh", prompt: hold(r)}, client, n))
	}
	if err := until(patience/2, func() error {
		if n := len(w.Groups()); n != 9 {
			return fmt.Errorf("%d groups, want 9", n)
		}
		return nil
	}); err != nil {
		w.tb.Fatal(err)
	}
	b.queued = start(plan{name: "queued", backend: "sh", prompt: "echo never", queued: true}, "narrow0", 0)
	return b
}

// toldTheEnd: of a daemon that ends softly every client hears why.
func (b *burst) toldTheEnd(t *testing.T, w *world) {
	t.Helper()
	if code := w.ExitCode(); code != 0 {
		t.Errorf("exit status %d\n%s", code, w.Log())
	}
	if _, err := os.Stat(filepath.Join(w.root, "runs")); err == nil {
		t.Errorf("%s/runs is left: %v", w.root, w.Groups())
	}
	if left := w.marked(); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
	for _, a := range append(b.held[:len(b.held):len(b.held)], b.queued) {
		if a.err != nil && a.answer == nil && a == b.queued {
			continue // it came after the door was closed
		}
		if a.err != nil || a.answer.Code() != "shutting_down" {
			t.Errorf("%s: told %+v, %v; want shutting_down", a.tag, a.answer, a.err)
		}
	}
	for _, a := range b.hungry {
		// The drain may end before its memory is gone; our own reason comes first.
		if a.err != nil || a.answer.Error == nil {
			t.Errorf("%s: told %+v, %v", a.tag, a.answer, a.err)
			continue
		}
		oom, _ := a.answer.Error.Receipt["oom_kills"].(float64)
		if code := a.answer.Code(); code != "shutting_down" && (code != "memory_limit" || w.kernel && oom == 0) {
			t.Errorf("%s: told %s, with receipt %v", a.tag, code, a.answer.Error.Receipt)
		}
	}
}

// recorded: what a client was told is what the next daemon knows; who was told
// nothing finds his run lost.
func (b *burst) recorded(t *testing.T, w *world, soft bool) {
	t.Helper()
	told := 0
	for _, a := range append(b.hungry[:len(b.hungry):len(b.hungry)], b.held...) {
		r, err := w.tagged(a.client, "", a.tag)
		if err != nil {
			t.Errorf("%s: %v", a.tag, err)
			continue
		}
		want := "lost"
		if a.err == nil && a.answer != nil && a.answer.Error != nil {
			told++
			want = a.answer.Code()
		}
		ok := r.Cause == want
		if want == "lost" && a.name == "hungry" && r.Cause == "memory_limit" {
			ok = true // it was recorded, and the daemon died before it could tell
		}
		if !ok || r.State != "finished" {
			t.Errorf("%s: record %s %s (%s), want %s; told %+v, %v", a.tag, r.State, r.Cause, r.Message, want, a.answer, a.err)
		}
	}
	if r, err := w.tagged("narrow0", "", b.queued.tag); err == nil {
		t.Errorf("queued, never started, and recorded as %+v", r)
	}
	if !soft {
		if n := sum(w.metrics(), "penstock_processes_reaped_total", `reason="boot"`); n < float64(len(b.held)) {
			t.Errorf("penstock_processes_reaped_total{reason=\"boot\"} %v, with %d runs held", n, len(b.held))
		}
	}
	t.Logf("%d of %d clients were told; %d lost", told, len(b.hungry)+len(b.held), lost(w))
}

func lost(w *world) (n int) {
	for _, c := range []string{free, "narrow0"} {
		all, err := w.listed(c, "")
		if err != nil {
			w.tb.Error(err)
		}
		for _, r := range all {
			if r.Cause == "lost" {
				n++
			}
		}
	}
	return n
}

// again is a run of each kind for the next daemon.
func (b *burst) again() []plan {
	return []plan{
		{name: "plain", tag: "again-0", backend: "sh", prompt: "echo yes", stream: true, want: end{cause: "completed", text: exactly("yes\n")}},
		{name: "hungry", tag: "again-1", backend: "demo", prompt: "/alloc 200MiB /sleep 30", extra: limits("memory_max", "48MiB"), want: outOfMemory("")},
	}
}
