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
	// busyRate is about that of ten short runs a second, in bytes.
	busyRate = 4 << 20
	// gcLook is how often the rate is looked at.
	gcLook = time.Second
)

// tuneGC sets the percentage by how much is allocated, until ctx ends.
func tuneGC(ctx context.Context) {
	tick := time.NewTicker(gcLook)
	defer tick.Stop()
	percent, last := gcPercentAtRest, allocated()
	debug.SetGCPercent(percent)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := allocated()
		if want := gcPercent(now-last, gcLook); want != percent {
			percent = want
			debug.SetGCPercent(percent) // stops all goroutines for a moment
		}
		last = now
	}
}

// gcPercent is for so many bytes allocated in a time.
func gcPercent(bytes uint64, in time.Duration) int {
	if float64(bytes) >= busyRate*in.Seconds() {
		return gcPercentBusy
	}
	return gcPercentAtRest
}

// allocated is how many bytes were ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
