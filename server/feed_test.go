package server

import (
	"testing"

	"penstock/run"
)

// A slow reader costs one event: what it has not taken stays on disk.
func TestAFeedHoldsOneEvent(t *testing.T) {
	f := follow(t.Context(), new(run.Run))
	defer f.Close()
	if n := cap(f.events); n != 0 {
		t.Errorf("%d events pile up in front of a slow reader", n)
	}
}
