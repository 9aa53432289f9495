package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestGCPercent(t *testing.T) {
	for _, row := range []struct {
		busy bool
		live uint64
		want int
	}{
		{false, 1 << 20, gcPercentAtRest},
		{true, 0, gcPercentMost},
		{true, gcHeapMost / 5, 400},
		{true, gcHeapMost/5 + 1, 200},
		{true, gcHeapMost / 2, 100},
		{true, gcHeapMost/2 + 1, 50},
		{true, gcHeapMost, gcPercentAtRest},
		{true, 10 * gcHeapMost, gcPercentAtRest},
	} {
		if got := gcPercent(row.busy, row.live); got != row.want {
			t.Errorf("busy %t, %d bytes live: %d, want %d", row.busy, row.live, got, row.want)
		}
	}
}

// Each collection is told of, as long as somebody listens.
func TestAfterCollections(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	defer end()
	collected := make(chan struct{}, 1)
	afterCollections(ctx, collected)
	for range 3 {
		runtime.GC()
		<-collected
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
	if made := readGarbage().since(before); made.allocated < uint64(len(kept)) || made.live < uint64(len(kept)) {
		t.Errorf("%+v of %d bytes and a collection", made, len(kept))
	}
	runtime.KeepAlive(kept)
}
