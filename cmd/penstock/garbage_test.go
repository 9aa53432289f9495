package main

import (
	"context"
	"runtime/debug"
	"testing"
	"time"
)

func TestGCPercent(t *testing.T) {
	for _, row := range []struct {
		bytes uint64
		in    time.Duration
		want  int
	}{
		{0, time.Second, gcPercentAtRest},
		{busyRate - 1, time.Second, gcPercentAtRest},
		{busyRate, time.Second, gcPercentBusy},
		{busyRate, 2 * time.Second, gcPercentAtRest},
	} {
		if got := gcPercent(row.bytes, row.in); got != row.want {
			t.Errorf("%d bytes in %s: %d, want %d", row.bytes, row.in, got, row.want)
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
	before := allocated()
	kept := make([]byte, 1<<20)
	if now := allocated(); now-before < uint64(len(kept)) {
		t.Errorf("%d bytes allocated of %d", now-before, len(kept))
	}
}
