package history

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// opened is an index in a fresh directory, or what is left of one.
func opened(t testing.TB, dir string) (*Index, Report) {
	t.Helper()
	x, report, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x, report
}

func end(n int, client string) Entry {
	at := time.UnixMicro(1_700_000_000_000_000).Add(time.Duration(n) * time.Second)
	return Entry{ID: fmt.Sprint("run-", n), Client: client, Created: at, Ended: at.Add(time.Second), Bytes: int64(n)}
}

func finish(t testing.TB, x *Index, e Entry) {
	t.Helper()
	if err := x.Finish(e, fmt.Appendf(nil, `{"of":%q}`, e.ID)); err != nil {
		t.Fatal(err)
	}
}

func ids(all []Entry) (out []string) {
	for _, e := range all {
		out = append(out, e.ID)
	}
	return out
}

// Whatever is done in whatever order, and however often the index is opened anew or
// cleaned, it knows what a map would. Hashes that are those of others change nothing.
func TestIndex_IsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "history-*")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		few := rapid.Bool().Draw(t, "hashes collide")
		open := func() *Index {
			x, report, err := Open(dir)
			if err != nil || report.Damaged != 0 {
				t.Fatal(report, err)
			}
			if few {
				rehash(x)
			}
			return x
		}
		x := open()
		defer func() { x.Close() }()
		ended, begun := map[string]Entry{}, map[string]bool{}
		id := rapid.Map(rapid.IntRange(0, 12), func(n int) int { return n })
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			n := id.Draw(t, "id")
			e := end(n, []string{"a b", `c"\`, ""}[n%3])
			switch rapid.IntRange(0, 6).Draw(t, "step") {
			case 0:
				err = x.Begin(e.ID, []byte("begun"))
				begun[e.ID] = true
				delete(ended, e.ID)
			case 1, 2:
				e.Bytes, e.Filed = rapid.Int64Range(0, 5).Draw(t, "bytes"), rapid.Bool().Draw(t, "filed")
				err = x.Finish(e, []byte("ended "+e.ID+strings.Repeat("x", 2000)))
				ended[e.ID] = e
				delete(begun, e.ID)
			case 3:
				err = x.Remove(e.ID, "run-99")
				delete(ended, e.ID)
				delete(begun, e.ID)
			case 4:
				err = x.Clean()
			case 5:
				x.Hide(e.ID)
				if x.Has(e.ID) {
					t.Fatal("in sight though hidden")
				}
				x.Show(e.ID)
			default:
				x.Close()
				x = open()
			}
			if err != nil {
				t.Fatal(err)
			}
			agrees(t, x, ended, begun)
		}
	})
}

func rehash(x *Index) {
	old := x.entries
	x.entries = newEntries()
	x.entries.hash = func(id string) uint64 { return uint64(len(id)) }
	for c, one := range old.all() {
		x.entries.add(c.name(one), old.clients[one.client], *one)
	}
}

func agrees(t *rapid.T, x *Index, ended map[string]Entry, begun map[string]bool) {
	var bytes int64
	for id, want := range ended {
		bytes += want.Bytes
		got, data, err := x.Get(id)
		found, ok := x.Find(id)
		if err != nil || !ok || !strings.HasPrefix(string(data), "ended "+id) {
			t.Fatalf("%s: %v, %v, %.20s", id, err, ok, data)
		}
		if diff := cmp.Diff(want, got); diff != "" || found.Bytes != want.Bytes || found.Filed != want.Filed || found.Client != want.Client {
			t.Fatalf("%s (-want +got):\n%s found %+v", id, diff, found)
		}
	}
	if n, b := x.Runs(); n != len(ended) || b != bytes {
		t.Fatalf("%d runs and %d bytes, want %d and %d", n, b, len(ended), bytes)
	}
	if got := x.Newest("", 0); len(got) != len(ended) || !slices.IsSortedFunc(got, func(a, b Entry) int { return b.Created.Compare(a.Created) }) {
		t.Fatalf("listed: %v", ids(got))
	}
	var whose []string
	for id, e := range ended {
		if e.Client == "a b" {
			whose = append(whose, id)
		}
	}
	got := x.Newest("a b", 2)
	if len(got) != min(2, len(whose)) || len(got) > 0 && got[0].Created != newest(whose, ended) {
		t.Fatalf("listed of one client: %v of %v", ids(got), whose)
	}
	if got := x.Begun(); len(got) != len(begun) {
		t.Fatalf("begun: %v, want %v", got, begun)
	}
}

// The log of runs that come and go is bounded, also where one that began first never
// ends, and what is needed of it is still there after it was moved.
func TestIndex_IsBounded(t *testing.T) {
	dir := t.TempDir()
	x, _ := opened(t, dir)
	if err := x.Begin("forever", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	data := []byte(strings.Repeat("x", 10_000))
	for n := range 3000 {
		if err := x.Finish(end(n, "c"), data); err != nil {
			t.Fatal(err)
		}
		if n >= 100 {
			if err := x.Remove(end(n-100, "c").ID); err != nil {
				t.Fatal(err)
			}
		}
		if n%50 == 0 {
			if err := x.Clean(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := x.entries.chunks; len(got) > 2 {
		t.Errorf("%d chunks in memory of 100 runs", len(got))
	}
	left, err := numbers(dir)
	if err != nil || len(left) > 3 {
		t.Errorf("%d segments of 1 MB: %v", len(left), err)
	}
	x.Close()
	x, _ = opened(t, dir)
	if n, _ := x.Runs(); n != 100 || len(x.Begun()) != 1 {
		t.Errorf("%d runs, begun %v", n, x.Begun())
	}
	if _, got, err := x.Get("run-2950"); err != nil || len(got) != len(data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// What ends is in the order of the ends, whatever the clock says: a record of a day
// ahead is as old as the daemon that found it.
func TestIndex_OrderOfEnds(t *testing.T) {
	dir := t.TempDir()
	x, _ := opened(t, dir)
	ahead, before := end(1, "c"), end(2, "c")
	ahead.Ended = time.Now().Add(1000 * time.Hour)
	finish(t, x, ahead)
	finish(t, x, before)
	x.Close()
	x, _ = opened(t, dir)
	now := end(3, "c")
	now.Ended = time.Now()
	finish(t, x, now)
	var order []string
	x.Oldest(func(e Entry) bool {
		order = append(order, e.ID)
		if age := time.Since(e.Ended); age < 0 || e.ID == ahead.ID && age > time.Minute {
			t.Errorf("%s ended %s ago", e.ID, age)
		}
		return true
	})
	if diff := cmp.Diff([]string{before.ID, ahead.ID, now.ID}, order); diff != "" {
		t.Errorf("oldest first (-want +got):\n%s", diff)
	}
}

func BenchmarkIndex(b *testing.B) {
	dir := b.TempDir()
	x, _ := opened(b, dir)
	data := []byte(strings.Repeat("x", 1300))
	for n := range 100_000 {
		if err := x.Finish(end(n, "c"), data); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			opened(b, dir)
		}
	})
	b.Run("newest", func(b *testing.B) {
		for b.Loop() {
			x.Newest("c", 20)
		}
	})
	b.Run("get", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := x.Get(fmt.Sprint("run-", rand.IntN(100_000))); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("finish", func(b *testing.B) {
		for n := 100_000; b.Loop(); n++ {
			if err := x.Finish(end(n, "c"), data); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func newest(of []string, ended map[string]Entry) (at time.Time) {
	for _, id := range of {
		if c := ended[id].Created; c.After(at) {
			at = c
		}
	}
	return at
}
