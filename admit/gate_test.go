package admit

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reply of one Acquire that runs beside the test.
type reply struct {
	slot *Slot
	err  error
}

func ask(ctx context.Context, g *Gate, a Ask) chan reply {
	c := make(chan reply, 1)
	go func() {
		s, err := g.Acquire(ctx, a)
		c <- reply{s, err}
	}()
	synctest.Wait()
	return c
}

// decided returns the reply, or false while the ask still waits.
func decided(c chan reply) (reply, bool) {
	synctest.Wait()
	select {
	case r := <-c:
		return r, true
	default:
		return reply{}, false
	}
}

func refusal(t *testing.T, err error, want Reason) *Refused {
	t.Helper()
	var r *Refused
	if !errors.As(err, &r) || r.Reason != want {
		t.Fatalf("got %v, want %s", err, want)
	}
	return r
}

func TestGate_NextSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{MaxRuns: 1, MaxWaiting: 5, MaxWait: time.Minute})
		first, err := g.Acquire(t.Context(), Ask{Client: "a"})
		if err != nil || first.Waited() != 0 {
			t.Fatal(first, err)
		}
		second := ask(t.Context(), g, Ask{Client: "a"})
		time.Sleep(3 * time.Second)
		if _, ok := decided(second); ok {
			t.Fatal("two runs at once, and one is allowed")
		}
		if s := g.Stats(); s.Running != 1 || s.Waiting != 1 || s.OldestWait != 3*time.Second || s.WaitingBy["a"] != 1 {
			t.Errorf("stats %+v", s)
		}
		first.Release()
		first.Release()
		r, ok := decided(second)
		if !ok || r.err != nil || r.slot.Waited() != 3*time.Second {
			t.Fatal(r, ok)
		}
		if s := g.Stats(); s.Running != 1 || s.Waiting != 0 {
			t.Errorf("released twice counts twice: %+v", s)
		}
		r.slot.Release()
	})
}

func TestGate_QueueFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{MaxRuns: 2, MaxWaiting: 2, MaxWait: time.Hour})
		// Two holds of 10 s: what the mean is made of.
		for range 2 {
			s, _ := g.Acquire(t.Context(), Ask{Client: "x"})
			time.Sleep(10 * time.Second)
			s.Release()
		}
		var slots []*Slot
		for range 2 {
			s, err := g.Acquire(t.Context(), Ask{Client: "x"})
			if err != nil {
				t.Fatal(err)
			}
			slots = append(slots, s)
		}
		one, two := ask(t.Context(), g, Ask{Client: "a"}), ask(t.Context(), g, Ask{Client: "a"})
		_, err := g.Acquire(t.Context(), Ask{Client: "a"})
		// Third in line, two slots, 10 s each.
		if r := refusal(t, err, QueueFull); r.RetryAfter != 15*time.Second {
			t.Errorf("retry after %v, want 15s", r.RetryAfter)
		}
		other := ask(t.Context(), g, Ask{Client: "b"})
		if _, ok := decided(other); ok {
			t.Error("a full line of one client shuts out another")
		}
		for _, s := range slots {
			s.Release()
		}
		for _, c := range []chan reply{one, other, two} {
			r, ok := decided(c)
			if !ok || r.err != nil {
				t.Fatal(r.err, ok)
			}
			r.slot.Release()
		}
	})
}

func TestGate_RetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for held, want := range map[time.Duration]time.Duration{time.Millisecond: time.Second, time.Hour: 5 * time.Minute} {
			g := New(Options{MaxRuns: 1})
			s, _ := g.Acquire(t.Context(), Ask{})
			time.Sleep(held)
			_, err := g.Acquire(t.Context(), Ask{})
			if r := refusal(t, err, QueueFull); r.RetryAfter != want {
				t.Errorf("held %v: retry after %v, want %v", held, r.RetryAfter, want)
			}
			s.Release()
		}
	})
}

func TestGate_Deadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{MaxRuns: 1, MaxWaiting: 9, MaxWait: time.Minute})
		if _, err := g.Acquire(t.Context(), Ask{Deadline: time.Now()}); err == nil {
			t.Fatal("a deadline that has passed starts something")
		}
		s, _ := g.Acquire(t.Context(), Ask{})
		start := time.Now()
		_, err := g.Acquire(t.Context(), Ask{Deadline: start.Add(5 * time.Second)})
		refusal(t, err, QueueTimeout)
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("own deadline: %v", d)
		}
		start = time.Now()
		_, err = g.Acquire(t.Context(), Ask{Deadline: start.Add(time.Hour)})
		refusal(t, err, QueueTimeout)
		if d := time.Since(start); d != time.Minute {
			t.Errorf("the queue's bound: %v", d)
		}
		s.Release()
		if st := g.Stats(); st.Running != 0 || st.Waiting != 0 {
			t.Errorf("something is left: %+v", st)
		}
	})
}

func TestGate_CancelledWhileQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{MaxRuns: 1, MaxWaiting: 9, MaxWait: time.Minute})
		s, _ := g.Acquire(t.Context(), Ask{})
		ctx, cancel := context.WithCancel(t.Context())
		gone := ask(ctx, g, Ask{Client: "a"})
		next := ask(t.Context(), g, Ask{Client: "a"})
		cancel()
		if r, ok := decided(gone); !ok || !errors.Is(r.err, context.Canceled) {
			t.Fatal(r, ok)
		}
		if _, err := g.Acquire(ctx, Ask{}); !errors.Is(err, context.Canceled) {
			t.Errorf("an ended context gets %v", err)
		}
		s.Release()
		r, ok := decided(next)
		if !ok || r.err != nil {
			t.Fatal("the slot is lost", r, ok)
		}
		r.slot.Release()
	})
}

// The grant comes while the cancel is on its way: both are ready when the
// waiting goroutine looks, so either branch may be taken, many times over.
func TestGate_GrantRacesCancel(t *testing.T) {
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			g := New(Options{MaxRuns: 1, MaxWaiting: 9, MaxWait: time.Minute})
			s, _ := g.Acquire(t.Context(), Ask{})
			ctx, cancel := context.WithCancel(t.Context())
			gone := ask(ctx, g, Ask{Client: "a"})
			next := ask(t.Context(), g, Ask{Client: "b"})
			s.Release()
			cancel()
			r, ok := decided(gone)
			if !ok {
				t.Fatal("undecided")
			}
			// A caller that got a slot before the cancel holds it.
			if r.slot != nil {
				r.slot.Release()
			} else if !errors.Is(r.err, context.Canceled) {
				t.Fatal(r.err)
			}
			n, ok := decided(next)
			if !ok || n.err != nil {
				t.Fatal("the slot was not given on", n, ok)
			}
			n.slot.Release()
			if st := g.Stats(); st.Running != 0 {
				t.Fatalf("%d slots are lost", st.Running)
			}
		})
	}
}

// Deterministic halves of that race: decided first, looked at later.
func TestGate_GrantedAfterCancel(t *testing.T) {
	g := New(Options{MaxRuns: 1, MaxWaiting: 9, MaxWait: time.Minute})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, end := range map[string]func(*waiter) (*Slot, error){
		"collect":  func(w *waiter) (*Slot, error) { return g.collect(ctx, w) },
		"withdraw": func(w *waiter) (*Slot, error) { return g.withdraw(ctx, w) },
		"wait":     func(w *waiter) (*Slot, error) { return g.wait(ctx, w) },
	} {
		w, err := g.enqueue(Ask{})
		if err != nil || w.slot == nil {
			t.Fatal(name, err)
		}
		if s, err := end(w); s != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: slot %v, %v", name, s, err)
		}
		if st := g.Stats(); st.Running != 0 {
			t.Fatalf("%s: the slot is lost", name)
		}
	}
	w, err := g.enqueue(Ask{})
	if err != nil {
		t.Fatal(err)
	}
	w.ask.Deadline = time.Now()
	_, err = g.collect(t.Context(), w)
	refusal(t, err, QueueTimeout)
	if st := g.Stats(); st.Running != 0 {
		t.Error("too late: the slot is lost")
	}
}

func TestQueue_ClientsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{MaxRuns: 1, MaxWaiting: 9, MaxWait: time.Hour})
		s, _ := g.Acquire(t.Context(), Ask{})
		var order []string
		var all []chan reply
		for _, client := range []string{"a", "a", "a", "b", "c", "c"} {
			all = append(all, ask(t.Context(), g, Ask{Client: client}))
		}
		names := []string{"a", "a", "a", "b", "c", "c"}
		for len(order) < len(names) {
			s.Release()
			for i, c := range all {
				if r, ok := decided(c); ok {
					order, s = append(order, names[i]), r.slot
				}
			}
		}
		s.Release()
		if want := []string{"a", "b", "c", "a", "c", "a"}; !slices.Equal(order, want) {
			t.Errorf("served %v, want %v", order, want)
		}
	})
}

func TestGate_OnPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{MaxRuns: 1, MaxWaiting: 9, MaxWait: time.Hour})
		s, _ := g.Acquire(t.Context(), Ask{})
		ctx, cancel := context.WithCancel(t.Context())
		ask(ctx, g, Ask{Client: "a"})
		second := ask(t.Context(), g, Ask{Client: "a"})
		var places []int
		third := ask(t.Context(), g, Ask{Client: "a", OnPosition: func(p int) {
			g.Stats() // no lock is held
			places = append(places, p)
		}})
		cancel()
		synctest.Wait()
		s.Release()
		r, _ := decided(second)
		if diff := cmp.Diff([]int{3, 2, 1}, places); diff != "" {
			t.Error(diff)
		}
		r.slot.Release()
		r, _ = decided(third)
		r.slot.Release()
	})
}

func TestGate_Drain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{MaxRuns: 1, MaxWaiting: 9, MaxWait: time.Hour})
		s, _ := g.Acquire(t.Context(), Ask{})
		waiting := ask(t.Context(), g, Ask{Client: "a"})
		g.Drain()
		r, ok := decided(waiting)
		if !ok {
			t.Fatal("still waits")
		}
		if r := refusal(t, r.err, ShuttingDown); r.RetryAfter <= 0 {
			t.Error("says not when to come again")
		}
		_, err := g.Acquire(t.Context(), Ask{})
		refusal(t, err, ShuttingDown)
		if st := g.Stats(); st.Running != 1 || st.Waiting != 0 {
			t.Errorf("stats %+v", st)
		}
		s.Release()
		g.Drain()
	})
}

func TestQueue_CappedClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{MaxRuns: 3, MaxWaiting: 1, MaxWait: time.Minute, Clients: map[string]Client{"alice": {MaxRuns: 1}}})
		first, err := g.Acquire(t.Context(), Ask{Client: "alice"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second)
		second := ask(t.Context(), g, Ask{Client: "alice"})
		if _, ok := decided(second); ok {
			t.Fatal("two runs of alice at once, and one is her cap")
		}
		_, err = g.Acquire(t.Context(), Ask{Client: "alice"})
		r := refusal(t, err, QueueFull)
		if want := "1 run of this client is live, as many as its max_runs allows, and 1 request of this client waits already"; r.Detail != want {
			t.Errorf("detail %q, want %q", r.Detail, want)
		}
		// Second in line for the one slot of her own, which is held for 4 s so far.
		if r.RetryAfter != 8*time.Second {
			t.Errorf("retry after %v, want 8s", r.RetryAfter)
		}
		for _, client := range []string{"bob", "carol"} {
			s, err := g.Acquire(t.Context(), Ask{Client: client})
			if err != nil {
				t.Fatalf("%s is held back by alice's cap: %v", client, err)
			}
			defer s.Release()
		}
		first.Release()
		got, ok := decided(second)
		if !ok || got.err != nil {
			t.Fatal("alice's own release does not let her next ask start", got.err)
		}
		got.slot.Release()
	})
}
