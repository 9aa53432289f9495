package run

import (
	"testing"
	"time"
)

// However often /health asks, only the dispatcher looks at the groups.
func TestSnapshotIsMemory(t *testing.T) {
	m := open(t)
	begun, last, looks := time.Now(), m.Snapshot().Heartbeat, 0
	for range 1000 {
		if at := m.Snapshot().Heartbeat; !at.Equal(last) {
			last = at
			looks++
		}
	}
	if most := 1 + int(time.Since(begun)/sampleEvery); looks > most {
		t.Errorf("%d looks for 1000 snapshots in %s", looks, time.Since(begun))
	}
}
