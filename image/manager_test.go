package image

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// logged is a log that a test reads.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newManager(t *testing.T, s *Store, unpack Unpack) (*Manager, *logged) {
	t.Helper()
	log := &logged{}
	m := NewManager(s, slog.New(slog.NewTextHandler(log, nil)), unpack)
	m.Start()
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m, log
}

// eventually waits for something to be so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for late := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("not so after 20 s: %s", what)
		}
	}
}

// What a tag means is asked at a reload; what isn't in the store comes later, and its runs
// are refused until then; what nothing refers to goes, and what runs use stays.
func TestManager_Reload(t *testing.T) {
	s, l := newStore(t), newLay(t)
	first, second := l.image(runtime.GOARCH, "1"), l.image(runtime.GOARCH, "2")
	l.tag("a", first)
	start := make(chan error)
	unpack := func(_ context.Context, layout, digest string) error {
		if layout != l.dir {
			t.Errorf("from %s", layout)
		}
		if err := <-start; err != nil {
			return err
		}
		put(t, s, digest, "")
		return nil
	}
	m, log := newManager(t, s, unpack)
	sources := []Source{{Name: "x", Layout: l.dir, Tag: "a", Home: "/root", Writable: 7}, {Name: "dir", Rootfs: "/srv/root", Home: DefaultHome}}
	if err := m.Reload(t.Context(), sources); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Use(t.Context(), "x"); !errors.Is(err, ErrUnpacking) || !strings.Contains(err.Error(), "(hint: try again)") {
		t.Errorf("%v", err)
	}
	if dir, err := m.Use(t.Context(), "dir"); err != nil || dir.Rootfs != "/srv/root" || dir.Digest != "" || dir.Lock != nil || dir.Close() != nil {
		t.Errorf("%+v %v", dir, err)
	}
	start <- errors.New("no room")
	eventually(t, "a failure is told", func() bool {
		_, err := m.Use(t.Context(), "x")
		return err != nil && strings.Contains(err.Error(), "no room")
	})
	eventually(t, "it is in the log", func() bool { return strings.Contains(log.String(), "image not unpacked") })
	if err := m.Reload(t.Context(), sources); err != nil { // tries again
		t.Fatal(err)
	}
	start <- nil
	var use *Image
	eventually(t, "it is there", func() (ok bool) {
		var err error
		use, err = m.Use(t.Context(), "x")
		return err == nil
	})
	if use.Digest != first.digest() || use.Home != "/root" || use.Writable != 7 || use.Name != "x" {
		t.Errorf("%+v", use)
	}

	l.index = nil
	l.tag("a", second)
	put(t, s, second.digest(), "")
	if again, err := m.Use(t.Context(), "x"); err != nil || again.Digest != first.digest() || again.Close() != nil {
		t.Errorf("before a reload: %v %v", again, err)
	}
	if err := m.Reload(t.Context(), sources); err != nil {
		t.Fatal(err)
	}
	again, err := m.Use(t.Context(), "x")
	if err != nil || again.Digest != second.digest() || again.Close() != nil {
		t.Errorf("after: %v %v", again, err)
	}
	eventually(t, "a sweep", func() bool { m.settle(); return true })
	if _, err := s.Get(first.digest()); err != nil {
		t.Errorf("it is used: %v", err)
	}
	if err := use.Close(); err != nil {
		t.Fatal(err)
	}
	m.settle()
	if _, err := s.Get(first.digest()); !errors.Is(err, ErrGone) {
		t.Errorf("nothing refers to it: %v", err)
	}
	// What the daemon's configuration names stays for others.
	if swept, err := s.Sweep(t.Context(), Refs{}); err != nil || len(swept.Digests) > 0 {
		t.Errorf("%v %v", swept, err)
	}
}

// Another process that sweeps takes away nothing that has just come.
func TestManager_PinnedFirst(t *testing.T) {
	s, l := newStore(t), newLay(t)
	d := l.image(runtime.GOARCH, "1")
	l.tag("a", d)
	m, _ := newManager(t, s, func(ctx context.Context, _, digest string) error {
		put(t, s, digest, "")
		swept, err := s.Sweep(ctx, Refs{})
		if len(swept.Digests) > 0 {
			t.Errorf("%v", swept)
		}
		return err
	})
	if err := m.Reload(t.Context(), []Source{{Name: "x", Layout: l.dir, Tag: "a"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is there", func() bool {
		use, err := m.Use(t.Context(), "x")
		return err == nil && use.Close() == nil
	})
}

// Nothing is unpacked before Start, and that it is there counts, whatever became of the
// process that has unpacked it.
func TestManager_Start(t *testing.T) {
	s, l := newStore(t), newLay(t)
	l.tag("a", l.image(runtime.GOARCH, "1"))
	var begun atomic.Bool
	m := NewManager(s, slog.New(slog.DiscardHandler), func(_ context.Context, _, digest string) error {
		begun.Store(true)
		put(t, s, digest, "")
		return errors.New("waitid: no child processes")
	})
	defer m.Close()
	if err := m.Reload(t.Context(), []Source{{Name: "x", Layout: l.dir, Tag: "a"}}); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		time.Sleep(time.Millisecond)
		if begun.Load() {
			t.Fatal("it is unpacked before Start")
		}
	}
	m.Start()
	m.Start()
	eventually(t, "it is there", func() bool {
		use, err := m.Use(t.Context(), "x")
		return err == nil && use.Close() == nil
	})
}

// A configuration of which one image can't be had changes nothing.
func TestManager_ReloadRefused(t *testing.T) {
	s, l := newStore(t), newLay(t)
	d := l.image(runtime.GOARCH, "1")
	l.tag("a", d)
	put(t, s, d.digest(), "")
	put(t, s, digestN(1), "named")
	m, _ := newManager(t, s, nil)
	good := []Source{{Name: "x", Layout: l.dir, Tag: "a"}}
	if err := m.Reload(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	for what, bad := range map[string]Source{
		`images.y: ` + l.dir + `: it has no tag "b"`:                                            {Name: "y", Layout: l.dir, Tag: "b"},
		"images.named: the store has an image of that name, too (hint: penstock image rm named": {Name: "named", Rootfs: "/srv"},
		"images.z: stat /none: no such file or directory":                                       {Name: "z", Layout: "/none"},
	} {
		if err := m.Reload(t.Context(), []Source{bad}); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want %q", err, what)
		}
		if err := Plan(s, []Source{bad}); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("beforehand: %v, want %q", err, what)
		}
	}
	for _, name := range []string{"x", "named"} {
		use, err := m.Use(t.Context(), name)
		if err != nil || use.Close() != nil || !isKnown(m, name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := m.Use(t.Context(), "y"); !errors.Is(err, ErrUnknown) || isKnown(m, "y") {
		t.Errorf("%v", err)
	}
}

// What a record of an earlier daemon tells is held again.
func TestManager_Adopt(t *testing.T) {
	s := newStore(t)
	put(t, s, digestN(1), "x")
	m, _ := newManager(t, s, nil)
	use, err := m.Adopt(t.Context(), digestN(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Remove(t.Context(), "x", Refs{}); !errors.Is(err, ErrInUse) {
		t.Errorf("%v", err)
	}
	if err := use.Close(); err != nil {
		t.Error(err)
	}
	if _, err := m.Adopt(t.Context(), digestN(2)); !errors.Is(err, ErrGone) {
		t.Errorf("%v", err)
	}
	if use, err := m.Adopt(t.Context(), ""); err != nil || use.Close() != nil {
		t.Errorf("a directory: %v", err)
	}
}

// Close comes to its end beside what doesn't, and nothing is held afterwards.
func TestManager_Close(t *testing.T) {
	s, l := newStore(t), newLay(t)
	l.tag("a", l.image(runtime.GOARCH, "1"))
	begun, ended := make(chan struct{}), make(chan struct{})
	m := NewManager(s, slog.New(slog.DiscardHandler), func(ctx context.Context, _, _ string) error {
		defer close(ended)
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	})
	m.Start()
	if err := m.Reload(t.Context(), []Source{{Name: "x", Layout: l.dir, Tag: "a"}}); err != nil {
		t.Fatal(err)
	}
	<-begun
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	<-ended
	if err := m.Reload(t.Context(), nil); err == nil {
		t.Error("a reload after the end is taken")
	}
}

// Without a store there are the directories of the host's.
func TestManager_NoStore(t *testing.T) {
	l := newLay(t)
	l.tag("a", l.image(runtime.GOARCH, "1"))
	m, _ := newManager(t, nil, nil)
	if err := m.Reload(t.Context(), []Source{{Name: "x", Layout: l.dir, Tag: "a"}, {Name: "dir", Rootfs: "/srv"}}); err != nil {
		t.Fatal(err)
	}
	for name, ok := range map[string]bool{"x": false, "dir": true, "other": false} {
		if _, err := m.Use(t.Context(), name); (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A configuration whose tags can't be read now may mean any digest.
func TestRefsOf(t *testing.T) {
	l := newLay(t)
	d := l.image(runtime.GOARCH, "1")
	l.tag("a", d)
	if refs := RefsOf([]Source{{Name: "x", Layout: l.dir, Tag: "a"}, {Rootfs: "/"}}); refs.Unknown || len(refs.Digests) != 1 || refs.Digests[d.digest()] != "images.x" {
		t.Errorf("%+v", refs)
	}
	if err := os.Remove(filepath.Join(l.dir, "index.json")); err != nil {
		t.Fatal(err)
	}
	if refs := RefsOf([]Source{{Layout: l.dir, Tag: "a"}}); !refs.Unknown {
		t.Errorf("%+v", refs)
	}
}

func isKnown(m *Manager, name string) bool {
	_, err := m.Known(name)
	return err == nil
}
