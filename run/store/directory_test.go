package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"penstock/backend"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// newDirectory is a run's, in a state directory of its own.
func newDirectory(t *testing.T, u *User) *Dir {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	d := s.Run("r")
	if err := d.Make(u); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDir_WritesAdaptersFiles(t *testing.T) {
	d := newDirectory(t, nil)
	if err := d.WriteFiles([]backend.File{{Name: "a/b/c", Data: []byte("1")}, {Name: "a/d", Data: []byte("2")}}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a/b/c": "1", "a/d": "2"} {
		got, err := os.ReadFile(d.File(name))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if info, err := os.Stat(d.File(name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", name, info.Mode())
		}
	}
	if err := os.Symlink(t.TempDir(), d.File("out")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".", "..", "../x", "/x", "a/../../x", "out/x", "a/d"} {
		if err := d.WriteFiles([]backend.File{{Name: name}}); err == nil {
			t.Errorf("%q was written", name)
		}
	}
}

// asOther runs f with the file rights of a user that is not root.
func asOther(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread is not to be used again
		if _, err := unix.SetfsuidRetUid(54321); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

func readOnlyTree(t *testing.T, dir string) {
	t.Helper()
	deep := filepath.Join(dir, "mod", "pkg")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(deep, "file"), []byte("x"), 0o444); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{filepath.Join(deep, "file"), deep, filepath.Dir(deep), dir} {
		if err := os.Lchown(d, 54321, 54321); err != nil && os.Geteuid() == 0 {
			t.Fatal(err)
		}
	}
	for _, d := range []string{deep, filepath.Dir(deep)} {
		if err := os.Chmod(d, 0o555); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDir_RemovesReadOnlyDirectories(t *testing.T) {
	top := t.TempDir()
	for d := top; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	d := &Dir{Path: filepath.Join(top, "r")}
	readOnlyTree(t, d.Path)
	asOther(t, func() {
		if err := d.RemoveScratch(); err != nil {
			t.Error(err)
		}
	})
	if got := entries(t, d.Path); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	readOnlyTree(t, d.Path)
	asOther(t, func() {
		if err := d.Remove(); err != nil {
			t.Error(err)
		}
	})
	if _, err := os.Lstat(d.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

func TestDir_ScratchBehindALinkStays(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	kept := filepath.Join(elsewhere, "kept")
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := &Dir{Path: filepath.Join(dir, "r")}
	if err := os.Symlink(elsewhere, d.Path); err != nil {
		t.Fatal(err)
	}
	if err := d.RemoveScratch(); err == nil {
		t.Error("a link was followed")
	}
	if _, err := os.Lstat(kept); err != nil {
		t.Error(err)
	}
}

func TestGiveTree_GivesLinksNotTheirTargets(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: only root may give files away")
	}
	out := filepath.Join(t.TempDir(), "out")
	d := newDirectory(t, &User{Name: "guest", UID: 54321, GID: 54322})
	if err := errors.Join(os.WriteFile(out, nil, 0o600), os.Mkdir(d.File(HomeName), 0o700),
		os.Mkdir(d.File("home/sub"), 0o700), os.Symlink(out, d.File("home/sub/link"))); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(GiveTree(d.File(HomeName), d.User), d.WriteFiles([]backend.File{{Name: "a/b"}, {Name: "a/c/d"}})); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]uint32{
		out: 0, d.Path: 0, d.File("home"): 54321, d.File("home/sub"): 54321, d.File("home/sub/link"): 54321,
		d.File("a"): 54321, d.File("a/b"): 54321, d.File("a/c"): 54321, d.File("a/c/d"): 54321,
	} {
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil || st.Uid != want {
			t.Errorf("%s: owner %d, want %d, %v", name, st.Uid, want, err)
		}
	}
}

func TestReadSmall_OnlyRegularFiles(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	plain := at("plain")
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(at("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(plain, at("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("huge"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(at("huge"), SmallMax+1); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fifo", "link", "huge", ".", "absent"} {
		if _, err := ReadSmall(at(name)); err == nil {
			t.Errorf("%s was read", name)
		}
	}
	if data, err := ReadSmall(plain); err != nil || string(data) != "x" {
		t.Errorf("plain file: %q, %v", data, err)
	}
}

func entries(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}
