package run

import (
	"testing"
	"time"

	"penstock/outcome"
)

// However often /health asks, only the dispatcher looks at the groups.
func TestSnapshot_IsMemory(t *testing.T) {
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

// Of two that build a snapshot at once the slower one would show again what has
// ended meanwhile: the second waits, and then sees what the first could not.
func TestSnapshot_IsNeverStale(t *testing.T) {
	m := open(t)
	r := newRun(running, Record{ID: "r", State: Running}, m.log)
	m.mu.Lock()
	m.live[r.id] = r
	m.mu.Unlock()
	t.Cleanup(func() {
		m.mu.Lock()
		delete(m.live, r.id)
		m.mu.Unlock()
	})
	m.publishing.Lock() // as one that is building has it
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		m.publish()
	}()
	select {
	case <-shown:
		t.Error("a snapshot was built and shown while another was being built")
	case <-time.After(100 * time.Millisecond): // it waits; where it never comes to run, the test proves less
	}
	r.mu.Lock()
	r.to(finished)
	r.mu.Unlock()
	m.publishing.Unlock()
	wait(t, "snapshot", shown)
	if n := len(m.Snapshot().Runs); n != 0 {
		t.Errorf("%d runs live, all have ended", n)
	}
}

func TestSnapshot(t *testing.T) {
	m := open(t, func(o *Options) { o.StallAfter = time.Second })
	first := m.Snapshot()
	if first.Heartbeat.IsZero() || len(first.Runs) != 0 {
		t.Errorf("at first: %+v", first)
	}
	r := start(t, m, script("exec sleep 300"))
	if s := m.Snapshot(); len(s.Runs) != 1 || s.Runs[0].ID != r.ID() || s.Runs[0].Client != "tester" || s.Runs[0].Started.IsZero() {
		t.Errorf("with a run: %+v", s)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		s := m.Snapshot()
		if s.Stalled == 1 && s.Runs[0].Stalled && s.Processes >= 1 && s.Heartbeat.After(first.Heartbeat) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("an idle run is not shown as stalled: %+v", s)
		}
	}
	r.End(outcome.Cancelled)
	verdict(t, r, outcome.Cancelled)
	if s := m.Snapshot(); len(s.Runs) != 0 {
		t.Errorf("after its end: %+v", s)
	}
}
