package inimage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What lies at the path of the repository's common directory by the time it is mounted must be
// the repository that was looked at: a run that writes above it can put a link in its place.
func TestMountCommon_Replaced(t *testing.T) {
	s := newScene(t)
	repo, other := filepath.Join(s.dir, "other/repo"), filepath.Join(s.dir, "secret")
	own := filepath.Join(repo, "worktrees/w")
	for _, dir := range []string{own, other, filepath.Join(other, "worktrees/w")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		s.run.Cwd + "/.git": "gitdir: " + own, own + "/gitdir": s.run.Cwd + "/.git", own + "/commondir": "../..",
	} {
		if err := os.WriteFile(name, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cwd, err := os.Open(s.run.Cwd)
	if err != nil {
		t.Fatal(err)
	}
	defer cwd.Close()
	s.InRoots = func(string) bool { return true }
	mount := func(r *repository) error {
		o := &opener{entry: &Entry{}}
		defer func() {
			if err := o.entry.Close(); err != nil {
				t.Error(err)
			}
		}()
		return s.mountCommon(o, r)
	}
	found := repositoryOf(s.run.Cwd, cwd)
	if found == nil {
		t.Fatal("no repository")
	}
	if err := mount(found); err != nil {
		t.Errorf("as it was: %v", err)
	}
	if err := os.Rename(repo, repo+"-was"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, repo); err != nil {
		t.Fatal(err)
	}
	if err := mount(found); err == nil || !strings.Contains(err.Error(), "it was replaced while the run started") {
		t.Errorf("another directory in its place: %v", err)
	}
}
