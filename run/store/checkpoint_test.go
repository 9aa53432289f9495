package store

import (
	"encoding/json"
	"os"
	"path/filepath"
	"penstock/internal/atomicfile"
	"penstock/spawn"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLock_Leftovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state [1]*") // nothing of it is a pattern
	lock, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for id, state := range map[string]State{"live": Running, "over": Finished, "brief": Running} {
		d := lock.State.Run(id)
		err := d.Make(nil)
		if err == nil {
			err = d.Save(Record{ID: id, State: state})
		}
		if err == nil && id != "brief" {
			err = d.SaveCheckpoint(&Checkpoint{Leader: 7})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "runs", "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if lock, err = LockDir(dir); err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	left, err := lock.Leftovers(func(string, string) Bounds { return Bounds{} })
	if diff := cmp.Diff([]spawn.Leftover{{ID: "live", Leader: 7}}, left); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
}

func TestWriteJSON_OfWhatIsNotRead(t *testing.T) {
	d := newDirectory(t, nil)
	if err := WriteJSON([]string{d.StorePath("x")}, strings.Repeat("x", 100), 100, atomicfile.Flusher(nil)); err == nil {
		t.Error("something was written that can't be read")
	}
}

func TestBounds_Apply(t *testing.T) {
	now := time.Now()
	began := now.Add(-time.Minute)
	wide := spawn.Resources(spawn.Limits{MemoryMax: 1 << 40, PidsMax: 1 << 20})
	b := Bounds{
		Limits:  spawn.Resources(spawn.Limits{MemoryMax: 1 << 30, PidsMax: 100}),
		Timeout: time.Hour, Grace: time.Second, Stall: time.Minute, OutputMax: 1 << 20, LineMax: 1 << 10,
	}
	for name, w := range map[string]Checkpoint{
		"none":     {Grace: -1},
		"too much": {Deadline: now.Add(999 * time.Hour), Grace: time.Hour, Stall: time.Hour, OutputMax: 1 << 60, LineMax: 1 << 60},
		"negative": {Stall: -1, OutputMax: -1, LineMax: -1},
	} {
		for _, limits := range []*Record{{}, {Limits: wide}} {
			r := *limits
			r.Started = &began
			b.Apply(&r, &w, now)
			if w.Deadline.After(began.Add(time.Hour)) || w.Deadline.IsZero() || w.Grace < 0 || w.Grace > time.Second ||
				w.Stall != time.Minute || w.OutputMax != 1<<20 || w.LineMax != 1<<10 || MemoryOf(r.Limits) != 1<<30 || pidsOf(r.Limits) != 100 {
				t.Errorf("%s: %+v %+v", name, w, r.Limits)
			}
		}
	}
	narrow := Checkpoint{Deadline: now, Stall: 1, OutputMax: 2, LineMax: 3}
	r := Record{Started: &began, Limits: spawn.Resources(spawn.Limits{MemoryMax: 5, PidsMax: 6})}
	if b.Apply(&r, &narrow, now); narrow.Deadline != now || narrow.Stall != 1 || narrow.OutputMax != 2 || narrow.LineMax != 3 || MemoryOf(r.Limits) != 5 || pidsOf(r.Limits) != 6 {
		t.Errorf("%+v %+v", narrow, r.Limits)
	}
	later := now.Add(time.Hour)
	r.Started = &later
	if b.Apply(&r, &Checkpoint{}, now); r.Started.After(now) {
		t.Error("it started in the future")
	}
}

// Only the cap on memory is another one; the record it came from stays as it was.
func TestWithMemory(t *testing.T) {
	forged := spawn.Resources(spawn.Limits{MemoryMax: 1 << 20, PidsMax: 7})
	got := WithMemory(forged, 1<<30)
	if *got.Memory.Limit != 1<<30 || *got.Pids.Limit != 7 || *forged.Memory.Limit != 1<<20 {
		t.Errorf("%+v of %+v", got.Memory, forged.Memory)
	}
	if got := WithMemory(nil, 1<<30); *got.Memory.Limit != 1<<30 {
		t.Errorf("%+v", got)
	}
}

// A record as large as a client's metadata may be must be read again.
func TestWriteJSON_FitsWhatIsRead(t *testing.T) {
	d := newDirectory(t, nil)
	big, err := json.Marshal(string(make([]byte, 100<<10)))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Save(Record{ID: "r", State: Finished, Metadata: big}); err != nil {
		t.Fatal(err)
	}
	if got, _ := d.load(); got.State != Finished || got.Cause != "" {
		t.Errorf("loaded as %s %s (%s)", got.State, got.Cause, got.Message)
	}
}
