package image

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// moves is a tag of a layout that moves, and a daemon that unpacks what it means when it is told.
type moves struct {
	*lay
	store   *Store
	sources []Source
	result  chan error // of an unpacking
}

func newMoves(t *testing.T) *moves {
	l := newLay(t)
	return &moves{lay: l, store: newStore(t), sources: []Source{{Name: "x", Layout: l.dir, Tag: "a", Home: DefaultHome}}, result: make(chan error)}
}

// to moves the tag, and gives the digest that it means from then on.
func (m *moves) to(text string) string {
	d := m.image(runtime.GOARCH, text)
	m.index = nil
	m.tag("a", d)
	return d.digest()
}

func (m *moves) unpack(t *testing.T) Unpack {
	return func(ctx context.Context, _, digest string) error {
		select {
		case err := <-m.result:
			if err == nil {
				put(t, m.store, digest, "")
			}
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wantIn looks what runs of x get, and that other processes leave it where it is.
func (m *moves) wantIn(t *testing.T, manager *Manager, digest, when string) {
	t.Helper()
	if swept, err := m.store.Sweep(t.Context(), Refs{}); err != nil || len(swept.Digests) > 0 {
		t.Errorf("%s: swept %v %v", when, swept, err)
	}
	known, err := manager.Known("x")
	if err != nil || known.Err != nil || known.Digest != digest {
		t.Errorf("%s: known as %+v %v", when, known, err)
	}
	use, err := manager.Use(t.Context(), "x")
	if err != nil || use.Digest != digest || use.Home != m.sources[0].Home {
		t.Fatalf("%s: %+v %v, want %s", when, use, err, Short(digest))
	}
	if err := use.Close(); err != nil {
		t.Error(err)
	}
}

func (m *moves) reload(t *testing.T, manager *Manager) {
	t.Helper()
	if err := manager.Reload(t.Context(), m.sources); err != nil {
		t.Fatal(err)
	}
}

// Runs go on with the digest that they had while the one that a tag has moved to is unpacked,
// and where that fails.
func TestManager_TagMoves(t *testing.T) {
	l := newMoves(t)
	first := l.to("1")
	put(t, l.store, first, "")
	m, log := newManager(t, l.store, l.unpack(t))
	told := func(text string) {
		t.Helper()
		eventually(t, text, func() bool { return strings.Contains(log.String(), text) })
	}
	l.reload(t, m)
	l.wantIn(t, m, first, "at first")
	second := l.to("2")
	l.sources[0].Home = "/root" // what is no content is taken at once
	l.reload(t, m)
	told("image changes when it is unpacked: its runs go on with what is before\" image=x digest=" + second + " before=" + first)
	l.wantIn(t, m, first, "while it is unpacked")
	l.result <- errors.New("no room")
	told("image not unpacked: its runs go on with what is before\" image=x digest=" + second + " before=" + first + ` error="no room"`)
	l.wantIn(t, m, first, "where that fails")
	l.reload(t, m)
	l.wantIn(t, m, first, "while it is tried again")
	eventually(t, "it is tried again", func() bool { return strings.Count(log.String(), "unpacking an image") == 2 })
	third := l.to("3")
	l.reload(t, m)
	l.result <- nil // for what isn't wanted any more
	l.wantIn(t, m, first, "after another move")
	l.result <- nil
	eventually(t, "it changes over", func() bool { known, err := m.Known("x"); return err == nil && known.Digest == third })
	l.wantIn(t, m, third, "at last")
	told("images removed\" digests=[" + first + "]")
	if l.store.Has(first) {
		t.Error("it is removed and there")
	}
	eventually(t, "what isn't wanted is removed", func() bool { return !l.store.Has(second) })
	if l.to("1"); strings.Contains(log.String(), "not let go") || strings.Contains(log.String(), "are refused") {
		t.Errorf("refused, or let go twice:\n%s", log)
	}
	put(t, l.store, first, "")
	l.reload(t, m)
	told("image changes\" image=x digest=" + first + " before=" + third)
	l.wantIn(t, m, first, "what is there already")
}

// What can't be written down, on a full disk say, and a directory that the name was before,
// are kept by the daemon itself.
func TestManager_TagMovesUnwritten(t *testing.T) {
	l := newMoves(t)
	if err := os.Mkdir(filepath.Join(l.store.Path(), inForceName), 0o700); err != nil {
		t.Fatal(err)
	}
	layout := l.sources
	m, log := newManager(t, l.store, l.unpack(t))
	l.sources = []Source{{Name: "x", Rootfs: "/srv/root", Home: DefaultHome}}
	l.reload(t, m)
	l.sources = layout
	first := l.to("1")
	l.reload(t, m)
	if use, err := m.Use(t.Context(), "x"); err != nil || use.Rootfs != "/srv/root" || use.Close() != nil {
		t.Errorf("%+v %v", use, err)
	}
	l.result <- nil
	eventually(t, "it changes over", func() bool { known, err := m.Known("x"); return err == nil && known.Digest == first })
	eventually(t, "it is told", func() bool { return strings.Contains(log.String(), "is not written down") })
	l.to("2")
	l.reload(t, m)
	if use, err := m.Use(t.Context(), "x"); err != nil || use.Digest != first || use.Close() != nil {
		t.Errorf("%+v %v", use, err)
	}
}

// A daemon that is killed while runs have what a tag meant before leaves that to the next
// one, and no other process removes it in between.
func TestManager_TagMovesAcrossKills(t *testing.T) {
	l := newMoves(t)
	first := l.to("1")
	put(t, l.store, first, "")
	put(t, l.store, first, "same")
	killed := func() *Manager {
		m := NewManager(l.store, slog.New(slog.DiscardHandler), l.unpack(t))
		m.Start()
		return m
	}
	m := killed()
	l.reload(t, m)
	eventually(t, "it is written down", func() bool { was, err := l.store.InForce(); return err == nil && was["x"] == first })
	l.to("2")
	l.reload(t, m)
	if err := m.Close(); err != nil { // the kernel lets go of as much
		t.Fatal(err)
	}
	if _, kept, err := l.store.Remove(t.Context(), "same", RefsOf(l.sources)); err != nil || kept != "images.x was it when a daemon last looked" {
		t.Errorf("%q %v", kept, err)
	}
	if swept, err := l.store.Sweep(t.Context(), RefsOf(l.sources)); err != nil || len(swept.Digests) > 0 {
		t.Errorf("%v %v", swept, err)
	}
	next, _ := newManager(t, l.store, l.unpack(t))
	l.reload(t, next)
	l.wantIn(t, next, first, "in the next daemon")
	l.sources = nil
	l.reload(t, next)
	eventually(t, "it goes with its name", func() bool { return !l.store.Has(first) })
}

// What can't be read of what was in force keeps no daemon from its start, and all from being removed.
func TestManager_InForceDamaged(t *testing.T) {
	l := newMoves(t)
	put(t, l.store, l.to("1"), "")
	if err := os.WriteFile(filepath.Join(l.store.Path(), inForceName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if swept, err := l.store.Sweep(t.Context(), Refs{}); err == nil || len(swept.Digests) > 0 {
		t.Errorf("%v %v", swept, err)
	}
	second := l.to("2")
	m, log := newManager(t, l.store, l.unpack(t))
	l.reload(t, m)
	if _, err := m.Use(t.Context(), "x"); !errors.Is(err, ErrUnpacking) || !strings.Contains(log.String(), "isn't known") {
		t.Errorf("%v\n%s", err, log)
	}
	l.result <- nil
	eventually(t, "it is there", func() bool {
		known, err := m.Known("x")
		return err == nil && known.Digest == second && known.Err == nil
	})
	eventually(t, "it is written down", func() bool { was, err := l.store.InForce(); return err == nil && was["x"] == second })
}
