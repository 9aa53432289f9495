package spawn

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A child can make as many directories of such a name as it likes.
func TestMask_ScanIsLinear(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	h := pathMasker{MaskPaths: MaskPaths{Paths: []string{filepath.Join(dir, "tmux-*")}}, log: slog.New(slog.DiscardHandler), mounts: true}
	inOwnNamespace(t, func() error {
		var made int
		cost := func(n int) float64 {
			for ; made < n; made++ {
				if err := os.Mkdir(filepath.Join(dir, fmt.Sprint("tmux-", made)), 0o700); err != nil {
					t.Error(err)
				}
			}
			eventually(t, "all are hidden", func() bool { // a look may be late
				h.scan()
				hidden, _ := h.reachability()
				return len(hidden) == made
			})
			return testing.AllocsPerRun(1, h.scan)
		}
		few, many := cost(50), cost(800)
		if many > 20*few {
			return fmt.Errorf("%.0f allocations for 50, %.0f for 800", few, many)
		}
		return nil
	})
}

// flood makes n names of one user, of one file: that is quick.
func flood(t *testing.T, dir string, n, uid int) {
	t.Helper()
	first := filepath.Join(dir, "first")
	if err := errors.Join(os.WriteFile(first, nil, 0o600), os.Lchown(first, uid, -1)); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := os.Link(first, filepath.Join(dir, fmt.Sprint("tmux-", 100000+i))); err != nil {
			t.Fatal(err)
		}
	}
}

// 40 000 names, which any user can make in a sticky /tmp: births go on, the names
// of others are hidden all the same, and that there were too many is told.
func TestMask_FloodOfNamesDelaysNoStart(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	flood(t, dir, 40000, 12345)
	for _, path := range []string{"tmux-0", "tmux-77"} {
		if err := os.Mkdir(filepath.Join(dir, path), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Lchown(filepath.Join(dir, "tmux-77"), 77, -1); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	s := openHiding(t, mode(), false, MaskPaths{Paths: []string{filepath.Join(dir, "tmux-*")}})
	for i := range 20 {
		j := newJob(t, fmt.Sprintf("run_flood_%d", i), "ls "+dir+"/tmux-0 "+dir+"/tmux-77 && echo there")
		if out, _ := j.run(s); !strings.Contains(out, "there") {
			t.Fatalf("run %d said %q", i, out)
		}
	}
	// It took 23 to 91 s for one.
	if took := time.Since(begun); took > 3*time.Minute {
		t.Errorf("20 births took %s", took)
	}
	var i Isolation
	eventually(t, "the look comes back", func() bool {
		i = s.Isolation()
		return len(i.Hidden) > 2 && i.TooMany > 0
	})
	if n := len(i.Hidden); n > ownerMax+2 {
		t.Errorf("%d names are hidden, want the two of others and %d", n, ownerMax)
	}
	for _, name := range []string{"tmux-0", "tmux-77"} {
		if !hiddenDir(t, s.launcher, filepath.Join(dir, name)) {
			t.Errorf("%s is not hidden", name)
		}
	}
	if i.TooMany != 40000-ownerMax {
		t.Errorf("%d names were too many, want %d", i.TooMany, 40000-ownerMax)
	}
}

// hiddenDir asks a birth's thread what covers a directory.
func hiddenDir(t *testing.T, l *launcher, path string) bool {
	t.Helper()
	seen := make(chan bool, 1)
	err := l.do(t.Context(), func() {
		mounts, _ := threadMounts()
		target, err := openTarget(unix.AT_FDCWD, path)
		if err != nil {
			seen <- false
			return
		}
		defer target.close()
		seen <- target.isMasked(newMountTable(mounts))
	})
	if err != nil {
		t.Fatal(err)
	}
	return <-seen
}

func TestMask_ChooseIsFairToOwners(t *testing.T) {
	var found []ownedName
	for i := range 2 * namesMax {
		found = append(found, ownedName{fmt.Sprintf("/tmp/x-%d", 10000+i), 7})
	}
	for uid := range uint32(5) {
		found = append(found, ownedName{fmt.Sprintf("/tmp/x-%d", uid), 100 + uid}, ownedName{fmt.Sprintf("/tmp/root-%d", uid), 0})
	}
	paths, beyond := choose(found)
	if len(paths) != ownerMax+10 || beyond != 2*namesMax-ownerMax {
		t.Errorf("%d taken, %d left", len(paths), beyond)
	}
	if paths[0] != "/tmp/root-0" {
		t.Errorf("first comes %s, want root's", paths[0])
	}
	if paths, beyond = choose(found[:3]); len(paths) != 3 || beyond != 0 {
		t.Errorf("of three: %v, %d", paths, beyond)
	}
}

// deadFS mounts a FUSE file system that nobody serves: whatever looks below it
// waits until close.
func deadFS(t *testing.T, at string) (closeIt func()) {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("this machine lacks FUSE: %v", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd)
	if err := unix.Mount("penstock-test", at, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		_ = unix.Close(fd)
		t.Skipf("this machine can't mount FUSE here: %v", err)
	}
	return func() {
		_ = unix.Close(fd) // aborts what waits
		_ = unix.Unmount(at, unix.MNT_DETACH)
	}
}

// A file system that doesn't answer, where a pattern leads, stops no birth; what is
// hidden stays so, the rest is looked at, and it is told.
func TestMask_DeadFileSystemDelaysNoStart(t *testing.T) {
	needRoot(t)
	d := newDoors(t)
	dead := d.at("dead")
	if err := os.Mkdir(dead, 0o755); err != nil {
		t.Fatal(err)
	}
	hiding := MaskPaths{Paths: []string{d.at("dead/*/bus"), d.at("*.sock"), d.at("spool")}}
	if err := os.MkdirAll(filepath.Join(dead, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dead, "x/bus"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	s := openHiding(t, mode(), false, hiding)
	if i := s.Isolation(); len(i.Hidden) != 3 || len(i.Late) != 0 {
		t.Fatalf("before: %+v", i)
	}
	alive := deadFS(t, dead)
	defer func() { alive() }()
	eventually(t, "told", func() bool { return len(s.Isolation().Late) == 1 })
	for i := range 3 {
		j := newJob(t, fmt.Sprintf("run_dead_%d", i), "echo born")
		if out, _ := j.run(s); out != "born\n" {
			t.Fatalf("run %d said %q", i, out)
		}
	}
	if i := s.Isolation(); len(i.Hidden) != 3 || i.Late[0] != d.at("dead/*/bus") {
		t.Errorf("meanwhile: hidden %v, late %v", i.Hidden, i.Late)
	}
	d.listen("late.sock")
	eventually(t, "late socket hidden", func() bool { return hiddenNow(t, s.launcher, d.at("late.sock")) })
	alive()
	alive = func() {}
	eventually(t, "answered again", func() bool { return len(s.Isolation().Late) == 0 })
}

// A daemon that starts beside a dead file system serves, and tells.
func TestMask_DeadFileSystemDelaysNoOpen(t *testing.T) {
	needRoot(t)
	d := newDoors(t)
	if err := os.Mkdir(d.at("dead"), 0o755); err != nil {
		t.Fatal(err)
	}
	alive := deadFS(t, d.at("dead"))
	defer alive()
	s := openHiding(t, mode(), true, MaskPaths{Paths: []string{d.at("dead/x"), d.at("spool")}})
	if i := s.Isolation(); len(i.Late) != 1 || len(i.Hidden) != 1 {
		t.Errorf("late %v, hidden %v", i.Late, i.Hidden)
	}
	j := newJob(t, "run_beside", "echo born")
	if out, _ := j.run(s); out != "born\n" {
		t.Errorf("run said %q", out)
	}
}
