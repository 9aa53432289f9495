package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// holdCommand, in the environment, makes the test binary a process that holds an image:
// "DIR DIGEST runs" or "DIR DIGEST refs"; "inherit" keeps descriptor 3 alone.
const holdCommand = "PENSTOCK_TEST_HOLD"

func TestMain(m *testing.M) {
	words := strings.Fields(os.Getenv(holdCommand))
	if len(words) == 0 {
		os.Exit(m.Run())
	}
	if err := holdForEver(words); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func holdForEver(words []string) error {
	if words[0] != "inherit" {
		s, err := OpenExisting(words[0])
		if err != nil {
			return err
		}
		hold := s.Use
		switch words[2] {
		case "refs":
			hold = func(ctx context.Context, digest string) (*Use, error) {
				f, err := s.Pin(ctx, digest)
				return &Use{Lock: f}, err
			}
		case "stage":
			hold = func(ctx context.Context, _ string) (*Use, error) {
				g, err := s.Stage(ctx)
				return &Use{Lock: g.lock}, err
			}
		}
		use, err := hold(context.Background(), words[1])
		if err != nil {
			return err
		}
		defer use.Close() // known until then: what nothing knows is closed
	}
	fmt.Println("held")
	_, err := os.Stdin.Read(make([]byte, 1))
	return err
}

// holder is a process that holds an image until it is killed.
func holder(t *testing.T, inherit *os.File, words ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = []string{holdCommand + "=" + strings.Join(words, " ")}
	if inherit != nil {
		c.ExtraFiles = []*os.File{inherit}
	}
	if _, err := c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(c) })
	said := make([]byte, 200)
	n, err := out.Read(said)
	if err != nil || !strings.HasPrefix(string(said[:n]), "held") {
		t.Fatalf("%q %v", said[:n], err)
	}
	return c
}

func kill(c *exec.Cmd) {
	_ = c.Process.Kill() // it may be over
	_ = c.Wait()
}

func newStore(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), dirName))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func digestN(n int) string { return fmt.Sprintf("sha256:%064x", n) }

// put makes an image of a digest, with a name where it isn't "".
func put(t *testing.T, s *Store, digest, name string) {
	t.Helper()
	g, err := s.Stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(g.Rootfs(), "file"), []byte(digest), 0o400); err != nil {
		t.Fatal(err)
	}
	var n *Name
	if name != "" {
		n = &Name{Name: name, Digest: digest}
	}
	if err := errors.Join(g.Commit(t.Context(), Record{Digest: digest}, n), g.Discard()); err != nil {
		t.Fatal(err)
	}
}

func wantDigests(t *testing.T, s *Store, want ...string) {
	t.Helper()
	got, err := s.digests()
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v: -want +got:\n%s", err, diff)
	}
}

// What runs use is not removed, in whatever process they were started, and goes when all
// have ended: also those that were killed.
func TestStore_RemoveInUse(t *testing.T) {
	s := newStore(t)
	put(t, s, digestN(1), "x")
	use, err := s.Use(t.Context(), digestN(1))
	if err != nil {
		t.Fatal(err)
	}
	// A run's first process inherits the daemon's descriptor, and outlives the daemon.
	first := holder(t, use.Lock, "inherit")
	other := holder(t, nil, s.Path(), digestN(1), "runs")
	refused := func(when string) {
		t.Helper()
		_, _, err := s.Remove(t.Context(), "x", Refs{})
		if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "(hint: ") {
			t.Errorf("%s: %v", when, err)
		}
		if used, err := s.InUse(digestN(1)); !used || err != nil {
			t.Errorf("%s: in use %v %v", when, used, err)
		}
		if _, err := s.Name("x"); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		wantDigests(t, s, digestN(1))
	}
	refused("used thrice")
	if err := use.Close(); err != nil {
		t.Fatal(err)
	}
	refused("after the daemon")
	kill(first)
	refused("after one run")
	kill(other)
	if used, err := s.InUse(digestN(1)); used || err != nil {
		t.Errorf("in use %v %v", used, err)
	}
	if _, kept, err := s.Remove(t.Context(), "x", Refs{}); err != nil || kept != "" {
		t.Errorf("%q %v", kept, err)
	}
	wantDigests(t, s)
	if _, err := s.Use(t.Context(), digestN(1)); !errors.Is(err, ErrGone) {
		t.Errorf("after its removal: %v", err)
	}
	if _, _, err := s.Remove(t.Context(), "x", Refs{}); !errors.Is(err, ErrUnknown) {
		t.Errorf("twice: %v", err)
	}
}

// A digest stays that another name, a configuration, or a daemon refers to.
func TestStore_RemoveReferred(t *testing.T) {
	s := newStore(t)
	for i, name := range []string{"other", "configured", "pinned"} {
		put(t, s, digestN(i), name+"-x")
	}
	if err := s.SetName(t.Context(), Name{Name: "other-y", Digest: digestN(0)}); err != nil {
		t.Fatal(err)
	}
	daemon := holder(t, nil, s.Path(), digestN(2), "refs")
	refs := Refs{Digests: map[string]string{digestN(1): "images.y"}}
	for name, by := range map[string]string{
		"other": "image other-y is the same", "configured": "images.y of the configuration is the same", "pinned": "a daemon's configuration names it, or",
	} {
		if _, kept, err := s.Remove(t.Context(), name+"-x", refs); err != nil || !strings.HasPrefix(kept, by) {
			t.Errorf("%s: %q %v", name, kept, err)
		}
	}
	if swept, err := s.Sweep(t.Context(), refs); err != nil || len(swept.Digests) > 0 {
		t.Errorf("%v %v", swept, err)
	}
	wantDigests(t, s, digestN(0), digestN(1), digestN(2))
	kill(daemon)
	if swept, err := s.Sweep(t.Context(), Refs{Unknown: true}); err != nil || len(swept.Digests) > 0 {
		t.Errorf("what a configuration may mean: %v %v", swept, err)
	}
	if _, err := s.Sweep(t.Context(), refs); err != nil {
		t.Error(err)
	}
	wantDigests(t, s, digestN(0), digestN(1))
	if pins, err := os.ReadDir(filepath.Join(s.Path(), pinsName)); err != nil || len(pins) > 0 {
		t.Errorf("pins of nothing: %v %v", pins, err)
	}
}

// A digest that a configuration names stays from the moment it is there.
func TestStore_PinBefore(t *testing.T) {
	s := newStore(t)
	daemon := holder(t, nil, s.Path(), digestN(1), "refs")
	if _, err := s.Sweep(t.Context(), Refs{}); err != nil {
		t.Fatal(err)
	}
	put(t, s, digestN(1), "")
	if _, err := s.Sweep(t.Context(), Refs{}); err != nil {
		t.Fatal(err)
	}
	wantDigests(t, s, digestN(1))
	kill(daemon)
	if _, err := s.Sweep(t.Context(), Refs{}); err != nil {
		t.Fatal(err)
	}
	wantDigests(t, s)
}

// What is being unpacked stays, and goes once what unpacked it was killed.
func TestStore_SweepInterrupted(t *testing.T) {
	s := newStore(t)
	adding := holder(t, nil, s.Path(), digestN(1), "stage")
	ours, err := s.Stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	staged := func() int {
		t.Helper()
		entries, err := os.ReadDir(filepath.Join(s.Path(), newName))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	if swept, err := s.Sweep(t.Context(), Refs{}); err != nil || swept.Interrupted > 0 || staged() != 2 {
		t.Errorf("while both live: %v %v, %d there", swept, err, staged())
	}
	kill(adding)
	// Killed before it had its lock.
	if err := os.MkdirAll(filepath.Join(s.Path(), newName, "early", stagedName), 0o000); err != nil {
		t.Fatal(err)
	}
	if swept, err := s.Sweep(t.Context(), Refs{Unknown: true}); err != nil || swept.Interrupted != 2 || staged() != 1 {
		t.Errorf("after a kill: %v %v, %d there", swept, err, staged())
	}
	if err := ours.Discard(); err != nil || staged() != 0 {
		t.Errorf("%v, %d there", err, staged())
	}
}

// An image that is damaged is unpacked anew by the next add, unless it is held.
func TestStore_Damaged(t *testing.T) {
	s := newStore(t)
	put(t, s, digestN(1), "x")
	record := filepath.Join(s.Path(), byDigest, strings.TrimPrefix(digestN(1), "sha256:"), recordName)
	if err := os.WriteFile(record, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Use(t.Context(), digestN(1)); err == nil {
		t.Error("it is used")
	}
	put(t, s, digestN(1), "x")
	use, err := s.Use(t.Context(), digestN(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := use.Close(); err != nil {
		t.Error(err)
	}
}

// Adds, uses, removals and sweeps at once: no use ever sees less than all of an image.
func TestStore_Concurrent(t *testing.T) {
	s := newStore(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var work sync.WaitGroup
	var uses atomic.Int64
	again := func(do func() error) {
		work.Go(func() {
			for n := 0; ctx.Err() == nil && n < 500 && uses.Load() < 50; n++ {
				time.Sleep(time.Millisecond)
				if err := do(); err != nil && ctx.Err() == nil && !errors.Is(err, ErrGone) && !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrInUse) {
					t.Error(err)
				}
			}
		})
	}
	add := func() error {
		g, err := s.Stage(ctx)
		if err != nil {
			return err
		}
		err = os.WriteFile(filepath.Join(g.Rootfs(), "file"), []byte("whole"), 0o400)
		return errors.Join(err, g.Commit(ctx, Record{Digest: digestN(1)}, &Name{Name: "x", Digest: digestN(1)}), g.Discard())
	}
	again(add)
	again(add)
	again(func() error { _, _, err := s.Remove(ctx, "x", Refs{}); return err })
	again(func() error { _, err := s.Sweep(ctx, Refs{}); return err })
	again(func() error {
		use, err := s.Use(ctx, digestN(1))
		if err != nil {
			return err
		}
		uses.Add(1)
		for range 3 {
			if text, err := os.ReadFile(filepath.Join(use.Rootfs, "file")); err != nil || string(text) != "whole" {
				t.Errorf("%q %v", text, err)
			}
		}
		return use.Close()
	})
	work.Wait()
	if uses.Load() == 0 {
		t.Error("it was never there")
	}
}

// What could not be read again is not stored.
func TestStaging_LongRecord(t *testing.T) {
	s := newStore(t)
	g, err := s.Stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Commit(t.Context(), Record{Digest: digestN(1), Env: []string{strings.Repeat("x", recordMost)}}, nil); err == nil {
		t.Error("it is stored")
	}
	if err := g.Discard(); err != nil {
		t.Error(err)
	}
	wantDigests(t, s)
}

// The store is closed to others: there are set-ID files in it.
func TestStore_Closed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), dirName)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, digestN(1), "x")
	for _, path := range []string{dir, filepath.Join(dir, byDigest), filepath.Join(dir, byDigest, digestN(1)[7:])} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
	if err := os.Symlink(dir, dir+"-link"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir + "-link"); err == nil {
		t.Error("a link in its place is taken")
	}
}

// Beside a state directory that is its user's runs' HOME, else in it.
func TestDir(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: files of other users")
	}
	state := filepath.Join(t.TempDir(), "state")
	for _, d := range []string{state, state + besideSuffix} {
		if err := errors.Join(os.Mkdir(d, 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		state, beside int
		mode          os.FileMode
		want          string
	}{{0, 0, 0o700, state}, {1000, 1000, 0o700, state + besideSuffix}, {1000, 1000, 0o755, state}, {1000, 0, 0o700, state}} {
		if err := errors.Join(os.Chown(state, tt.state, 0), os.Chown(state+besideSuffix, tt.beside, 0), os.Chmod(state+besideSuffix, tt.mode)); err != nil {
			t.Fatal(err)
		}
		if got := Dir(state); got != filepath.Join(tt.want, dirName) {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

func TestCheckNames(t *testing.T) {
	for name, ok := range map[string]bool{"node22": true, "a-b_c": true, "": false, "A": false, "a/b": false, "..": false, "-a": false, "a.b": false} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	for home, ok := range map[string]bool{
		"/home/agent": true, "/root": true, "/usr/home/x": true, "home": false, "/": false, "/usr": false, "/etc": false, "/proc/1": false, "/dev/shm": false,
		"/home/../etc": false, "/home/": false, "/lib64": false,
	} {
		if err := CheckHome(home); (err == nil) != ok {
			t.Errorf("%q: %v", home, err)
		}
	}
	for digest, ok := range map[string]bool{digestN(1): true, "sha256:": false, "sha512:" + digestN(1)[7:]: false, "sha256:../" + digestN(1)[10:]: false, strings.ToUpper(digestN(10)): false} {
		if err := CheckDigest(digest); (err == nil) != ok {
			t.Errorf("%q: %v", digest, err)
		}
	}
}
