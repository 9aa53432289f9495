package spawn

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"penstock/internal/masktest"
	"penstock/internal/procinfo"
	"penstock/sandbox"
)

// perOwner is how many names of one user are masked.
const perOwner = 512

func TestMask_Paths(t *testing.T) {
	needRoot(t)
	d := masktest.New(t)
	s := openHiding(t, mode(), false, maskOf(d))
	var want []string
	for _, name := range []string{"conf", "door.sock", "own", "spool", "table"} {
		want = append(want, d.At(name))
	}
	i := s.Isolation()
	if diff := cmp.Diff(want, i.Hidden); diff != "" || len(i.Reachable) > 0 {
		t.Errorf("reachable %v, hidden (-want +got):\n%s", i.Reachable, diff)
	}
	tries := []string{
		"ls spool/job", "touch spool/x", "grep secret table", "ls own/server", "echo >conf/unit", "touch conf/new", "rm -r spool", "mv door.sock x",
		"umount spool", "mount -o remount,rw,bind conf", "unshare -Urm umount spool && ls spool/job", "unshare -Urm sh -c \"mount -o remount,rw,bind conf && touch conf/new\"",
		"unshare -Urm sh -c \"mount --bind . /mnt && ls /mnt/spool/job\"", "unshare -Urm sh -c \"umount -l own && ls own/server\"",
	}
	j := newJob(t, "run_doors", "cd "+d.Dir+"; for try in '"+strings.Join(tries, "' '")+`'; do (eval "$try") >/dev/null 2>&1 && echo "DID $try"; done; touch own/mine && cat conf/unit && echo; echo end`)
	if out, _ := j.run(s); out != "text\nend\n" {
		t.Errorf("a child could:\n%s", out)
	}
	knock := newHostile(t, "run_knock", "connect "+d.At("door.sock"), "connect "+d.At("own/server"))
	knock.Argv[2] += "unshare -Urm sh <<X\n" + newHostile(t, "", "connect "+d.At("door.sock")).Argv[2] + "X\n"
	if out, _ := knock.run(s); strings.Count(out, "refused: ") != 3 || !strings.Contains(out, "connection refused") {
		t.Errorf("a child could:\n%s", out)
	}
	// The daemon and the host have lost nothing.
	if err := connect(d.At("door.sock")); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(d.At("spool/job")); err != nil || string(text) != "secret" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := os.Stat(d.At("own/mine")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a child made in a directory of its own is on the host: %v", err)
	}
}

// A path that appears while runs are under way is masked for these too; one whose
// socket is made anew, as a restarted service does, again.
func TestMask_LaterPaths(t *testing.T) {
	needRoot(t)
	d := masktest.New(t)
	s := openHiding(t, mode(), false, maskOf(d))
	knocks := newHostile(t, "run_waits", "connect "+d.At("late.sock")).Argv[2]
	j := newJob(t, "run_waits", "echo up; until [ -e "+d.At("go")+" ]; do sleep 0.05; done; "+knocks)
	p := j.mustStart(s)
	j.says("up")
	for range 2 {
		_ = os.Remove(d.At("late.sock")) // the second time, as the service does
		d.Listen("late.sock")
		eventually(t, "late socket hidden", func() bool { return hiddenNow(t, s.launcher, d.At("late.sock")) })
		// The look that covered it tells when it is through.
		eventually(t, "late socket told", func() bool { return slices.Contains(s.Isolation().Hidden, d.At("late.sock")) })
	}
	if err := os.WriteFile(d.At("go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	awaitProcess(t, p)
	if out := j.output(); !strings.Contains(out, "refused: ") {
		t.Errorf("a child could: %s", out)
	}
}

// hiddenNow looks at a path as a child would.
func hiddenNow(t *testing.T, l *sandbox.Launcher, path string) bool {
	t.Helper()
	type answer struct {
		mode os.FileMode
		err  error
	}
	seen := make(chan answer, 1)
	err := l.Do(t.Context(), func() {
		info, err := os.Lstat(path)
		if err != nil {
			seen <- answer{err: err}
			return
		}
		seen <- answer{mode: info.Mode()}
	})
	if err != nil {
		t.Fatal(err)
	}
	a := <-seen
	return a.err == nil && a.mode.Type() != os.ModeSocket
}

// What makes the kernel start a program is writable for uid 0 without any
// capability; a fresh procfs would show it anew.
func TestMask_Readonly(t *testing.T) {
	needRoot(t)
	s := openHiding(t, mode(), false, sandbox.MaskPaths{ReadOnly: []string{"/proc/sys", "/sys"}})
	if len(s.Isolation().Reachable) > 0 {
		t.Errorf("isolation %+v", s.Isolation())
	}
	var tries []string
	for _, file := range []string{"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/sys/kernel/uevent_seqnum", "/sys/kernel/uevent_helper", "/sys/kernel/mm/ksm/run"} {
		if _, err := os.Stat(file); err == nil {
			tries = append(tries, "exec 3>>"+file)
		}
	}
	tries = append(tries,
		`unshare -Urpfm sh -c "mount -t proc proc /mnt && exec 3>>/mnt/sys/kernel/core_pattern"`,
		`unshare -Urnm sh -c "mount -t sysfs sysfs /mnt && exec 3>>/mnt/kernel/mm/ksm/run"`,
		"umount /proc/sys", "mount -o remount,rw /sys")
	j := newJob(t, "run_kernel", "for try in '"+strings.Join(tries, "' '")+`'; do (eval "$try") 2>/dev/null && echo "DID $try"; done; cat /proc/sys/kernel/ostype; unshare -Ur id -u`)
	if out, _ := j.run(s); out != "Linux\n0\n" {
		t.Errorf("a child could:\n%s", out)
	}
	if !writable("/proc/sys/kernel/core_pattern") {
		t.Error("the daemon's own threads can't write it")
	}
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

// 40 000 names, which any user can make in a sticky /tmp: starts go on, the names
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
	s := openHiding(t, mode(), false, sandbox.MaskPaths{Paths: []string{filepath.Join(dir, "tmux-*")}})
	for i := range 20 {
		j := newJob(t, fmt.Sprintf("run_flood_%d", i), "ls "+dir+"/tmux-0 "+dir+"/tmux-77 && echo there")
		if out, _ := j.run(s); !strings.Contains(out, "there") {
			t.Fatalf("run %d said %q", i, out)
		}
	}
	// It took 23 to 91 s for one.
	if took := time.Since(begun); took > 3*time.Minute {
		t.Errorf("20 starts took %s", took)
	}
	var i Isolation
	eventually(t, "the look comes back", func() bool {
		i = s.Isolation()
		return len(i.Hidden) > 2 && i.TooMany > 0
	})
	if n := len(i.Hidden); n > perOwner+2 {
		t.Errorf("%d names are hidden, want the two of others and %d", n, perOwner)
	}
	for _, name := range []string{"tmux-0", "tmux-77"} {
		if !hiddenDir(t, s.launcher, filepath.Join(dir, name)) {
			t.Errorf("%s is not hidden", name)
		}
	}
	if i.TooMany != 40000-perOwner {
		t.Errorf("%d names were too many, want %d", i.TooMany, 40000-perOwner)
	}
}

// deadFS mounts a FUSE file system that no process serves: whatever looks below it
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

// A file system that doesn't answer, where a pattern leads, delays no start; what is
// hidden stays so, the rest is looked at, and it is told.
func TestMask_DeadFileSystemDelaysNoStart(t *testing.T) {
	needRoot(t)
	d := masktest.New(t)
	dead := d.At("dead")
	if err := os.Mkdir(dead, 0o755); err != nil {
		t.Fatal(err)
	}
	hiding := sandbox.MaskPaths{Paths: []string{d.At("dead/*/bus"), d.At("*.sock"), d.At("spool")}}
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
		j := newJob(t, fmt.Sprintf("run_dead_%d", i), "echo up")
		if out, _ := j.run(s); out != "up\n" {
			t.Fatalf("run %d said %q", i, out)
		}
	}
	if i := s.Isolation(); len(i.Hidden) != 3 || i.Late[0] != d.At("dead/*/bus") {
		t.Errorf("meanwhile: hidden %v, late %v", i.Hidden, i.Late)
	}
	d.Listen("late.sock")
	eventually(t, "late socket hidden", func() bool { return hiddenNow(t, s.launcher, d.At("late.sock")) })
	alive()
	alive = func() {}
	eventually(t, "answered again", func() bool { return len(s.Isolation().Late) == 0 })
}

// A daemon that starts beside a dead file system serves, and tells.
func TestMask_DeadFileSystemDelaysNoOpen(t *testing.T) {
	needRoot(t)
	d := masktest.New(t)
	if err := os.Mkdir(d.At("dead"), 0o755); err != nil {
		t.Fatal(err)
	}
	alive := deadFS(t, d.At("dead"))
	defer alive()
	s := openHiding(t, mode(), true, sandbox.MaskPaths{Paths: []string{d.At("dead/x"), d.At("spool")}})
	if i := s.Isolation(); len(i.Late) != 1 || len(i.Hidden) != 1 {
		t.Errorf("late %v, hidden %v", i.Late, i.Hidden)
	}
	j := newJob(t, "run_beside", "echo up")
	if out, _ := j.run(s); out != "up\n" {
		t.Errorf("run said %q", out)
	}
}

// hiddenDir asks a child's view what covers a directory.
func hiddenDir(t *testing.T, l *sandbox.Launcher, path string) bool {
	t.Helper()
	seen := make(chan bool, 1)
	err := l.Do(t.Context(), func() {
		mounts, _ := procinfo.Host.ThreadMounts(unix.Gettid())
		seen <- slices.ContainsFunc(mounts, func(m procinfo.Mount) bool { return m.Point == path && m.Source == "penstock-hidden" })
	})
	if err != nil {
		t.Fatal(err)
	}
	return <-seen
}

func maskOf(d masktest.Paths) sandbox.MaskPaths {
	paths, readOnly := d.Mask()
	return sandbox.MaskPaths{Paths: paths, ReadOnly: readOnly}
}
