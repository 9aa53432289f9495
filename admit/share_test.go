package admit

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Ten clients with weights 1..10, each with more asks than it gets, and one of
// weight 1 with 500: each has its share of the starts.
func TestQueue_Weights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clients := map[string]Client{"greedy": {Weight: 1}}
		for i := 1; i <= 10; i++ {
			clients[fmt.Sprint("w", i)] = Client{Weight: i}
		}
		g := New(Options{MaxRuns: 4, MaxWaiting: 1000, MaxWait: time.Hour, Clients: clients})
		var mu sync.Mutex
		var gone sync.WaitGroup
		got, all := map[string]int{}, 0
		work := func(client string) {
			s, err := g.Acquire(t.Context(), Ask{Client: client})
			if err != nil {
				return // the drain
			}
			mu.Lock()
			got[client]++
			all++
			mu.Unlock()
			time.Sleep(time.Second)
			s.Release()
		}
		// A start in a free slot costs no turn: all come to full ones.
		var first []*Slot
		for range 4 {
			s, err := g.Acquire(t.Context(), Ask{Client: "first"})
			if err != nil {
				t.Fatal(err)
			}
			first = append(first, s)
		}
		for client := range clients {
			for range 500 {
				gone.Go(func() { work(client) })
			}
		}
		synctest.Wait()
		for _, s := range first {
			s.Release()
		}
		time.Sleep(140*time.Second - time.Millisecond)
		g.Drain()
		gone.Wait()
		if all != 4*140 {
			t.Errorf("%d starts in 140 s on 4 slots", all)
		}
		for client, c := range clients {
			want := float64(all) * float64(c.Weight) / 56
			if n := float64(got[client]); math.Abs(n-want) > max(1.5, want/10) {
				t.Errorf("%s started %v of %d times, its share is %.1f", client, n, all, want)
			}
		}
	})
}

func TestGate_ReservedSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{MaxRuns: 4, Budget: 40, DefaultMemory: 10, MaxWaiting: 10, MaxWait: time.Hour,
			Clients: map[string]Client{"review": {Reserved: 2}}})
		var others []chan reply
		for range 4 {
			others = append(others, ask(t.Context(), g, Ask{Client: "greedy", Memory: 10}))
		}
		started := 0
		for _, o := range others {
			if r, ok := decided(o); ok && r.err == nil {
				started++
				defer r.slot.Release()
			}
		}
		if started != 2 {
			t.Fatalf("%d of the others' runs started beside two reserved slots of four", started)
		}
		for i := range 2 {
			r, ok := decided(ask(t.Context(), g, Ask{Client: "review", Memory: 10}))
			if !ok || r.err != nil {
				t.Fatalf("reserved run %d waits: %v", i, r.err)
			}
			defer r.slot.Release()
		}
		g.Drain()
	})
}

func TestGate_Pause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{MaxRuns: 4, MaxWaiting: 10, MaxWait: time.Minute})
		g.Pause("memory is short")
		first, ok := decided(ask(t.Context(), g, Ask{}))
		if !ok || first.err != nil {
			t.Fatal("nothing runs and nothing may start", first.err)
		}
		second := ask(t.Context(), g, Ask{})
		if _, ok := decided(second); ok {
			t.Fatal("a second run started while starts are held back")
		}
		if s := g.Stats(); s.Paused != "memory is short" {
			t.Errorf("stats say held %q", s.Paused)
		}
		g.Pause("")
		r, ok := decided(second)
		if !ok || r.err != nil {
			t.Fatal("still held back", r.err)
		}
		first.slot.Release()
		r.slot.Release()
	})
}

// What finished runs left can't be handed out a second time.
func TestGate_ReserveOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Budget: 100 * mib, MaxWaiting: 1, MaxWait: time.Minute})
		g.ReserveOutside(41*mib, "/dev/shm: 41 MiB")
		alone, err := g.Acquire(t.Context(), Ask{Memory: 60 * mib})
		if err != nil {
			t.Fatal("nothing runs, and none may try", err)
		}
		defer alone.Release()
		waiting := ask(t.Context(), g, Ask{Memory: 30 * mib})
		if _, ok := decided(waiting); ok {
			t.Fatal("a run was given what is held by files of others")
		}
		_, err = g.Acquire(t.Context(), Ask{Memory: 60 * mib})
		if r := refusal(t, err, QueueFull); !strings.Contains(r.Detail, "41 MiB of the budget are held by files that finished runs left in memory file systems (/dev/shm: 41 MiB)") {
			t.Errorf("detail %q", r.Detail)
		}
		g.ReserveOutside(0, "")
		r, ok := decided(waiting)
		if !ok || r.err != nil {
			t.Fatal("the files are gone and it still waits", r.err)
		}
		r.slot.Release()
	})
}

// Where files of finished runs fill the budget, no run is started to be killed:
// not even while none runs, and never again and again.
func TestGate_Exhausted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Budget: 100 * mib, MaxWaiting: 9, MaxWait: time.Minute, DefaultMemory: 60 * mib})
		g.ReserveOutside(71*mib, "/dev/shm: 71 MiB")
		if s := g.Stats(); !s.Exhausted || s.Outside != 71*mib {
			t.Errorf("stats %+v", s)
		}
		waiting := ask(t.Context(), g, Ask{Memory: 60 * mib})
		if r, ok := decided(waiting); ok {
			t.Fatalf("a run of 60 MiB was let into 29: %v", r.err)
		}
		small, err := g.Acquire(t.Context(), Ask{Client: "small", Memory: 20 * mib})
		if err != nil {
			t.Fatal(err)
		}
		small.Release()
		time.Sleep(time.Minute)
		r, ok := decided(waiting)
		if !ok {
			t.Fatal("it waits beyond its time")
		}
		if r := refusal(t, r.err, QueueTimeout); !strings.Contains(r.Detail, "/dev/shm: 71 MiB") {
			t.Errorf("detail %q", r.Detail)
		}
		g.ReserveOutside(70*mib, "/dev/shm: 70 MiB")
		alone, err := g.Acquire(t.Context(), Ask{Memory: 60 * mib})
		if err != nil || g.Stats().Exhausted {
			t.Fatal("half of it is there, and none may try", err)
		}
		alone.Release()
	})
}

func TestPauseRule(t *testing.T) {
	full := func(f float64) Pressure { return Pressure{Full: &f} }
	free := func(percent int64) Pressure {
		total, available := int64(100*mib), percent*mib
		return Pressure{Available: &available, Total: &total}
	}
	for _, row := range []struct {
		name  string
		steps []Pressure
		held  []bool
	}{
		{"pressure", []Pressure{full(0), full(9), full(10), full(6), full(4), full(6)}, []bool{false, false, true, true, false, false}},
		{"headroom", []Pressure{free(50), free(3), free(2), free(4), free(5), free(3)}, []bool{false, false, true, true, false, false}},
		{"one run at its own cap", []Pressure{{Full: ptr(50.0), Used: ptr(uint64(79 * mib)), Budget: 100 * mib}}, []bool{false}},
		{"too many runs", []Pressure{{Full: ptr(50.0), Used: ptr(uint64(80 * mib)), Budget: 100 * mib}}, []bool{true}},
		{"nothing told", []Pressure{{}}, []bool{false}},
		{"told no more", []Pressure{full(50), {}}, []bool{true, true}},
	} {
		var j PauseRule
		for i, p := range row.steps {
			if why := j.Reason(p); (why != "") != row.held[i] {
				t.Errorf("%s, step %d: %q", row.name, i, why)
			}
		}
	}
}

func ptr[T any](v T) *T { return &v }

func TestGate_LearnedPeak(t *testing.T) {
	g := New(Options{Budget: 1000 * mib, Overcommit: true, MaxWaiting: 1})
	reserve := func() int64 {
		s, err := g.Acquire(t.Context(), Ask{Backend: "claude", Memory: 900 * mib})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Release()
		return g.Stats().Reserved
	}
	if got := reserve(); got != 900*mib {
		t.Errorf("%d MiB reserved before anything was learned: not the cap", got/mib)
	}
	for i := range 100 {
		s, err := g.Acquire(t.Context(), Ask{Backend: "claude", Memory: 900 * mib})
		if err != nil {
			t.Fatal(err)
		}
		peak := int64(200 * mib)
		if i >= 94 { // six of a hundred need more
			peak = 400 * mib
		}
		s.Learn(peak)
		s.Release()
	}
	if got := reserve(); got != 440*mib {
		t.Errorf("%d MiB reserved; the 95th percentile and a tenth are 440", got/mib)
	}
}
