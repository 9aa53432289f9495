package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What the heap may grow by between two collections, in percent of what lives in it. At
// rest that is a few MiB, looked through in about a millisecond: the usual 100 would save
// little time.
const (
	gcPercentAtRest = 25
	// Where runs come and go all the time, a tenth of the daemon's processor would go into
	// collections of a small heap at that: one may grow by up to gcPercentMost as long as it
	// stays within gcHeapMost, in bytes. Of what a larger one has grown by, much stays with the
	// daemon, as holes between what lives on.
	gcPercentMost = 16 * gcPercentAtRest
	gcHeapMost    = 6 << 20
	// busyRate is about that of ten short runs a second, in bytes.
	busyRate = 4 << 20
	// gcLook is how often the rates are looked at.
	gcLook = 200 * time.Millisecond
	// A look at which less than quietRate bytes a second were allocated, after more than
	// worthClearing since the last clearing, clears the heap: what the starts of runs
	// that rest now have left is given back to the host.
	quietRate     = 2 << 20
	worthClearing = 4 << 20
)

// tuneGC sets the percentage by how much is allocated and lives, and clears the heap when
// little is allocated any more, until ctx ends.
func tuneGC(ctx context.Context) {
	tick := time.NewTicker(gcLook)
	defer tick.Stop()
	collected := make(chan struct{}, 1)
	afterCollections(ctx, collected)
	percent, busy := gcPercentAtRest, false
	last := readGarbage()
	cleared := last
	debug.SetGCPercent(percent)
	for {
		looked := false
		select {
		case <-ctx.Done():
			return
		case <-collected: // what lives may be twice of what it was
		case <-tick.C:
			looked = true
		}
		now := readGarbage()
		if looked {
			busy = float64(now.since(last).allocated) >= busyRate*gcLook.Seconds()
			if worthIt(now.since(last), now.since(cleared), gcLook) {
				cleared = now
				debug.FreeOSMemory()
			}
			last = now
		}
		if want := gcPercent(busy, now.live); want != percent {
			percent = want
			debug.SetGCPercent(percent) // stops all goroutines for a moment
		}
	}
}

// afterCollections sends to done after each collection until ctx ends, unless there is
// something in it.
func afterCollections(ctx context.Context, done chan<- struct{}) {
	if ctx.Err() != nil {
		return
	}
	runtime.AddCleanup(new(chan struct{}), func(done chan<- struct{}) {
		select {
		case done <- struct{}{}:
		default:
		}
		afterCollections(ctx, done)
	}, done)
}

// worthIt tells whether to clear the heap, of what was made of garbage in a time and
// since the last clearing.
func worthIt(g, since garbage, in time.Duration) bool {
	return float64(g.allocated) < quietRate*in.Seconds() && since.allocated >= worthClearing
}

// gcPercent is for a heap in which so many bytes live.
func gcPercent(busy bool, live uint64) int {
	percent := gcPercentAtRest
	for busy && percent < gcPercentMost && live+live*uint64(2*percent)/100 <= gcHeapMost {
		percent *= 2
	}
	return percent
}

// garbage is what there ever was: bytes allocated. live is what the last collection has
// found in use.
type garbage struct{ allocated, live uint64 }

func (g garbage) since(before garbage) garbage {
	return garbage{allocated: g.allocated - before.allocated, live: g.live}
}

func readGarbage() garbage {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return garbage{allocated: sample[0].Value.Uint64(), live: sample[1].Value.Uint64()}
}
