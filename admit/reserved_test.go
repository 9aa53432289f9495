package admit

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A client that starts far more often than its turns would let it, in slots of
// its own, leaves the others' shares as they are.
func TestQueue_ReservedStartsNoTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{MaxRuns: 3, MaxWaiting: 1000, MaxWait: time.Hour, Clients: map[string]Client{
			"review": {Reserved: 2, Weight: 1}, "small": {Weight: 1}, "large": {Weight: 3},
		}})
		var mu sync.Mutex
		var gone sync.WaitGroup
		got := map[string]int{}
		work := func(client string) bool {
			s, err := g.Acquire(t.Context(), Ask{Client: client})
			if err != nil {
				return false // the drain
			}
			mu.Lock()
			got[client]++
			mu.Unlock()
			time.Sleep(time.Second)
			s.Release()
			return true
		}
		for _, client := range []string{"review", "review", "small", "small", "large", "large"} {
			gone.Go(func() {
				for work(client) {
				}
			})
		}
		time.Sleep(100*time.Second - time.Millisecond)
		g.Drain()
		gone.Wait()
		if got["review"] != 200 || got["small"]+got["large"] != 100 || got["large"] < 73 || got["large"] > 77 {
			t.Errorf("%v: want 200 starts in the reserved slots, and the one other slot's 100 shared 1 to 3", got)
		}
	})
}

// An ask that the budget has become too small for keeps no room from others.
func TestQueue_NoRoomForMisfits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Budget: 10, MaxWaiting: 100, MaxWait: time.Hour, DefaultMemory: 1, Clients: map[string]Client{"review": {Reserved: 2}}})
		hold, err := g.Acquire(t.Context(), Ask{Client: "a", Memory: 1})
		if err != nil {
			t.Fatal(err)
		}
		large := ask(t.Context(), g, Ask{Client: "large", Memory: 8})
		g.SetBudget(6)
		for range passMax + 2 {
			s, err := g.Acquire(t.Context(), Ask{Client: "small", Memory: 1})
			if err != nil {
				t.Fatal(err)
			}
			s.Release()
		}
		hold.Release()
		if r, ok := decided(large); ok {
			t.Errorf("%+v", r)
		}
		g.SetBudget(10)
		if r, ok := decided(large); !ok || r.err != nil {
			t.Errorf("with room again: %+v", r)
		}
	})
}
