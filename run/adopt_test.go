package run

import (
	"testing"

	"penstock/spawn"
)

// Only the cap on memory is another one; the record it came from stays as it was.
func TestWithMemory(t *testing.T) {
	forged := spawn.Resources(spawn.Limits{MemoryMax: 1 << 20, PidsMax: 7})
	got := withMemory(forged, 1<<30)
	if *got.Memory.Limit != 1<<30 || *got.Pids.Limit != 7 || *forged.Memory.Limit != 1<<20 {
		t.Errorf("%+v of %+v", got.Memory, forged.Memory)
	}
	if got := withMemory(nil, 1<<30); *got.Memory.Limit != 1<<30 {
		t.Errorf("%+v", got)
	}
}
