package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What the heap may grow by between two collections, in percent. What lives in it at
// rest is a few MiB and looked through in about a millisecond, so the usual 100 would
// save little time then, and cost a hundred readers of one run 5 MiB. Where runs come
// and go all the time, 25 is a tenth of the daemon's processor.
const (
	gcPercentAtRest = 25
	gcPercentBusy   = 100
	// gcHeapMost is up to what size, in bytes, a heap may grow by more than that; of one
	// twice as large it is taken back.
	gcHeapMost = 8 << 20
	// busyRate is about that of ten short runs a second, in bytes.
	busyRate = 4 << 20
	// gcMost is how many collections a second are too many. Each stops all goroutines, which
	// has to wait for a start that is under way.
	gcMost = 10
	// gcLook is how often the rates are looked at.
	gcLook = 200 * time.Millisecond
	// A look at which less than quietRate bytes a second were allocated, after more than
	// worthClearing since the last clearing, clears the heap: what the starts of runs
	// that rest now have left is given back to the host.
	quietRate     = 2 << 20
	worthClearing = 4 << 20
)

// tuneGC sets the percentage by how much is allocated, and clears the heap when that has
// become little, until ctx ends.
func tuneGC(ctx context.Context) {
	tick := time.NewTicker(gcLook)
	defer tick.Stop()
	percent := gcPercentAtRest
	last := readGarbage()
	cleared := last
	debug.SetGCPercent(percent)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := readGarbage()
		if want := gcPercent(percent, now.since(last), gcLook); want != percent {
			percent = want
			debug.SetGCPercent(percent) // stops all goroutines for a moment
		}
		if worthIt(now.since(last), now.since(cleared), gcLook) {
			cleared = now
			debug.FreeOSMemory()
		}
		last = now
	}
}

// worthIt tells whether to clear the heap, of what was made of garbage in a time and
// since the last clearing.
func worthIt(g, since garbage, in time.Duration) bool {
	return float64(g.allocated) < quietRate*in.Seconds() && since.allocated >= worthClearing
}

// gcPercent is what comes after a percentage that made so much of garbage in a time.
func gcPercent(percent int, g garbage, in time.Duration) int {
	switch {
	case float64(g.allocated) < busyRate*in.Seconds():
		return gcPercentAtRest
	case percent < gcPercentBusy:
		return gcPercentBusy
	case float64(g.collections) > gcMost*in.Seconds() && 2*g.heap <= gcHeapMost:
		return 2 * percent
	case g.heap > 2*gcHeapMost:
		return max(percent/2, gcPercentBusy)
	}
	return percent
}

// garbage is what there ever was: bytes allocated, and collections. heap is the size at
// which the next one is due.
type garbage struct{ allocated, collections, heap uint64 }

func (g garbage) since(before garbage) garbage {
	return garbage{allocated: g.allocated - before.allocated, collections: g.collections - before.collections, heap: g.heap}
}

func readGarbage() garbage {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/goal:bytes"}}
	metrics.Read(sample)
	return garbage{allocated: sample[0].Value.Uint64(), collections: sample[1].Value.Uint64(), heap: sample[2].Value.Uint64()}
}
