package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestGCPercent(t *testing.T) {
	const often, small = gcMost + 1, gcHeapMost / 2
	for _, row := range []struct {
		percent int
		garbage garbage
		in      time.Duration
		want    int
	}{
		{gcPercentAtRest, garbage{}, time.Second, gcPercentAtRest},
		{gcPercentAtRest, garbage{busyRate - 1, often, small}, time.Second, gcPercentAtRest},
		{gcPercentAtRest, garbage{busyRate, often, small}, time.Second, gcPercentBusy},
		{gcPercentAtRest, garbage{busyRate, often, small}, 2 * time.Second, gcPercentAtRest},
		{gcPercentBusy, garbage{busyRate, gcMost, small}, time.Second, gcPercentBusy},
		{gcPercentBusy, garbage{busyRate, often, small}, time.Second, 2 * gcPercentBusy},
		{gcPercentBusy, garbage{busyRate, often, small + 1}, time.Second, gcPercentBusy},
		{2 * gcPercentBusy, garbage{busyRate, gcMost, small}, time.Second, 2 * gcPercentBusy},
		{2 * gcPercentBusy, garbage{busyRate - 1, often, small}, time.Second, gcPercentAtRest},
		{4 * gcPercentBusy, garbage{busyRate, often, 2 * gcHeapMost}, time.Second, 4 * gcPercentBusy},
		{4 * gcPercentBusy, garbage{busyRate, often, 2*gcHeapMost + 1}, time.Second, 2 * gcPercentBusy},
		{gcPercentBusy, garbage{busyRate, often, 2*gcHeapMost + 1}, time.Second, gcPercentBusy},
	} {
		if got := gcPercent(row.percent, row.garbage, row.in); got != row.want {
			t.Errorf("after %d percent, %+v in %s: %d, want %d", row.percent, row.garbage, row.in, got, row.want)
		}
	}
}

// Only what has been quiet, and has something to give back, is cleared.
func TestWorthIt(t *testing.T) {
	for _, row := range []struct {
		bytes, since uint64
		in           time.Duration
		want         bool
	}{
		{quietRate - 1, worthClearing, time.Second, true},
		{quietRate - 1, worthClearing - 1, time.Second, false},
		{quietRate, worthClearing, time.Second, false},
		{quietRate, worthClearing, 2 * time.Second, true},
	} {
		if got := worthIt(garbage{allocated: row.bytes}, garbage{allocated: row.since}, row.in); got != row.want {
			t.Errorf("%d bytes in %s, %d since: %t", row.bytes, row.in, row.since, got)
		}
	}
}

// A daemon that has begun to serve is at rest.
func TestTuneGC_BeginsAtRest(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	ended, end := context.WithCancel(t.Context())
	end()
	tuneGC(ended)
	if got := debug.SetGCPercent(100); got != gcPercentAtRest {
		t.Errorf("%d percent", got)
	}
	before := readGarbage()
	kept := make([]byte, 1<<20)
	runtime.GC()
	if made := readGarbage().since(before); made.allocated < uint64(len(kept)) || made.collections == 0 || made.heap < uint64(len(kept)) {
		t.Errorf("%+v of %d bytes and a collection", made, len(kept))
	}
}
