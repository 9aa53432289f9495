package history

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// A run that can't be removed for long, the oldest of all, keeps nothing of those behind it
// in memory.
func TestEntries_BehindOneThatStays(t *testing.T) {
	const others = 20 * chunkLen
	e := newEntries()
	e.add("stays", "c", entry{})
	for i := range others {
		id := end(i, "c").ID
		e.add(id, "c", entry{})
		if n, ok := e.find(id); !ok {
			t.Fatalf("%s is not found", id)
		} else if i < others-5 {
			e.set(n, gone)
		}
	}
	held := 0
	for _, c := range e.chunks {
		held += cap(c.entries)
	}
	if held > 3*chunkLen || e.runs != 6 {
		t.Errorf("room for %d entries is held by %d runs", held, e.runs)
	}
	n, ok := e.find("stays")
	if !ok {
		t.Fatal("the one that stays is not found")
	}
	e.set(n, gone)
	if len(e.chunks) > 2 || e.runs != 5 {
		t.Errorf("%d chunks of %d runs", len(e.chunks), e.runs)
	}
	for c := range e.all() {
		if len(c.entries) == 0 {
			t.Error("a spent chunk has entries")
		}
	}
}

// A segment of which the daemon can't read any more what it needs doesn't keep the log from
// being cleaned: it grew for as long as these runs were kept. They are known, without data.
func TestClean_OldestSegmentDamaged(t *testing.T) {
	ways := map[string]func(path string) error{
		"a line": func(p string) error {
			text, err := os.ReadFile(p)
			if err == nil {
				text[len(text)-100] ^= 1
				err = os.WriteFile(p, text, 0o600)
			}
			return err
		},
	}
	for name, do := range displace {
		ways[name] = do
	}
	for name, do := range ways {
		t.Run(name, func(t *testing.T) {
			const stay = 3
			dir := some(t, stay)
			x, _ := opened(t, dir)
			if err := errors.Join(x.Begin("begun", []byte("{}")), do(pathOf(dir, 1))); err != nil {
				t.Fatal(err)
			}
			data, failed := []byte(strings.Repeat("x", 100_000)), 0
			for i := range 200 {
				e := end(stay+i, "c")
				if err := errors.Join(x.Finish(e, data), x.Remove(e.ID)); err != nil {
					t.Fatal(err)
				}
				if err := x.Clean(); err != nil {
					failed++ // a directory in its place stays there
				}
			}
			if left, err := numbers(dir); err != nil || len(left) > 3 || failed > 1 {
				t.Errorf("%d segments of %d lines, failed %d times: %v", len(left), stay, failed, err)
			}
			x.Close()
			next, _ := opened(t, dir)
			if n, _ := next.Runs(); n != stay || len(next.Begun()) != 1 {
				t.Errorf("%d runs, begun %v", n, next.Begun())
			}
			want := end(0, "c")
			if got, ok := next.Find(want.ID); !ok || got.Client != "c" || got.Bytes != want.Bytes || !got.Created.Equal(want.Created) {
				t.Errorf("known: %+v, %v", got, ok)
			}
		})
	}
}
