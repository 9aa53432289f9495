package admit

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestGate_Budget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Budget: 100, MaxWaiting: 9, MaxWait: time.Hour, DefaultMemory: 30})
		_, err := g.Acquire(t.Context(), Ask{Memory: 101})
		if r := refusal(t, err, OverBudget); r.RetryAfter != 0 {
			t.Errorf("retry after %v can't help", r.RetryAfter)
		}
		big, err := g.Acquire(t.Context(), Ask{Client: "a", Memory: 80})
		if err != nil {
			t.Fatal(err)
		}
		large := ask(t.Context(), g, Ask{Client: "a", Memory: 30})
		small := ask(t.Context(), g, Ask{Client: "a", Memory: 5})
		if _, ok := decided(small); ok {
			t.Error("a small ask passed a larger one of the same client")
		}
		other := ask(t.Context(), g, Ask{Client: "b", Memory: 20})
		r, ok := decided(other)
		if !ok || r.err != nil {
			t.Fatal("another client's ask fits and waits", r.err)
		}
		if s := g.Stats(); s.Reserved != 100 || s.MaxRuns != 3 {
			t.Errorf("stats %+v", s)
		}
		big.Release()
		for _, c := range []chan reply{large, small} {
			if r, ok := decided(c); !ok || r.err != nil {
				t.Fatal(r.err, ok)
			}
		}
	})
}

func TestQueue_LargeNotStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Budget: 10, MaxWaiting: 100, MaxWait: time.Hour})
		slots := []*Slot{}
		for range 2 {
			s, _ := g.Acquire(t.Context(), Ask{Client: "small", Memory: 5})
			slots = append(slots, s)
		}
		large := ask(t.Context(), g, Ask{Client: "large", Memory: 10})
		var small []chan reply
		for range 30 {
			small = append(small, ask(t.Context(), g, Ask{Client: "small", Memory: 5}))
		}
		passed := 0
		for {
			if r, ok := decided(large); ok {
				if r.err != nil {
					t.Fatal(r.err)
				}
				r.slot.Release()
				break
			}
			if len(slots) == 0 {
				t.Fatal("nothing runs and the large one still waits")
			}
			slots[0].Release()
			slots = slots[1:]
			if len(small) == 0 {
				t.Fatal("every small one passed the large one")
			}
			if r, ok := decided(small[0]); ok {
				slots, small, passed = append(slots, r.slot), small[1:], passed+1
			}
		}
		if passed > passMax {
			t.Errorf("%d small ones passed the large one, %d may", passed, passMax)
		}
		for _, s := range slots {
			s.Release()
		}
		for _, c := range small {
			(<-c).slot.Release()
		}
	})
}

// Room is kept for one that was passed too often; when it goes, the room is free.
func TestQueue_KeptRoomFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Budget: 10, MaxWaiting: 100, MaxWait: time.Hour})
		base, _ := g.Acquire(t.Context(), Ask{Memory: 1})
		ctx, cancel := context.WithCancel(t.Context())
		large := ask(ctx, g, Ask{Client: "large", Memory: 10})
		for range passMax {
			s, err := g.Acquire(t.Context(), Ask{Client: "small", Memory: 1})
			if err != nil {
				t.Fatal(err)
			}
			s.Release()
		}
		small := ask(t.Context(), g, Ask{Client: "small", Memory: 1})
		if _, ok := decided(small); ok {
			t.Fatal("no room is kept")
		}
		cancel()
		if r, ok := decided(large); !ok || !errors.Is(r.err, context.Canceled) {
			t.Fatal(r, ok)
		}
		r, ok := decided(small)
		if !ok || r.err != nil {
			t.Fatal("room is kept for none", r, ok)
		}
		r.slot.Release()
		base.Release()
	})
}
