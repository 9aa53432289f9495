package sessions

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"penstock/run/store"
)

func chainOf(n uint64) (c store.Chain) {
	binary.BigEndian.PutUint64(c[:], n)
	return c
}

// None is forgotten for a whole period, be it by another daemon; after two, all are.
func TestSeen_Period(t *testing.T) {
	paths := []string{filepath.Join(t.TempDir(), "chains"), filepath.Join(t.TempDir(), "copy")}
	now := time.Unix(1<<30, 0)
	var added []time.Time
	const step = month / 7
	for i := range uint64(40) {
		s, err := openSeen(paths, month, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.add(idOf("c", chainOf(i)), now, (*os.File).Sync); err != nil {
			t.Fatal(err)
		}
		added = append(added, now)
		for n, at := range added {
			has := s.has(idOf("c", chainOf(uint64(n))))
			if age := now.Sub(at); age <= month && !has || age > 2*month+step && has {
				t.Errorf("after %v: %v", age, has)
			}
		}
		now = now.Add(step)
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err != nil || info.Size() != seenHead+2*seenBits || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info, err)
		}
	}
}

// What was never seen is rarely taken for seen, and what was always is.
func TestSeen_Rate(t *testing.T) {
	s := &seen{paths: nil, period: month}
	rate := func() float64 {
		taken := 0
		for range 50_000 {
			if s.has(idOf("c", chainOf(rand.Uint64()|1<<63))) {
				taken++
			}
		}
		return float64(taken) / 50_000
	}
	for n, most := range map[uint64]float64{0: 0, 150_000: 0.005, 300_000: 0.1} {
		s.newer = nil
		for i := range n {
			if err := s.add(idOf("c", chainOf(i)), time.Unix(0, 0), nil); err != nil {
				t.Fatal(err)
			}
		}
		for i := range n {
			if !s.has(idOf("c", chainOf(i))) {
				t.Fatalf("%d is forgotten", i)
			}
		}
		got := rate()
		if t.Logf("of %d: %.4f", n, got); got > most {
			t.Errorf("of %d: %.4f, want %.4f at most", n, got, most)
		}
	}
}

// A client's chain is not another's, nor that a second session had it.
func TestSeen_Ids(t *testing.T) {
	ids := map[chainID]bool{idOf("c", v): true, sharedID("c", v): true, idOf("d", v): true, idOf("c", u): true, idOf("c\x00", v): true}
	if len(ids) != 5 {
		t.Errorf("%d ids", len(ids))
	}
}

// A clock that was ahead keeps nothing for longer, and a file that can't be read now is not
// taken for none.
func TestOpenSeen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "chains")
	now := time.Unix(1<<30, 0)
	ahead := &seen{paths: []string{path}, period: month}
	if err := ahead.add(idOf("c", v), now.Add(1000*month), nil); err != nil {
		t.Fatal(err)
	}
	s, err := openSeen([]string{path}, month, now)
	if err != nil || s.began != now || !s.has(idOf("c", v)) {
		t.Errorf("%v, %v", s.began, err)
	}
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if s, err := openSeen([]string{path}, month, now); err == nil || s.has(idOf("c", v)) {
		t.Errorf("a directory in its place: %v", err)
	}
}
