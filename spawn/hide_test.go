package spawn

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// doors is a directory of ways to have somebody else start a process.
type doors struct {
	t   *testing.T
	dir string
}

func newDoors(t *testing.T) doors {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "spawn-doors") // short: a socket's path has an end
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	d := doors{t, dir}
	err = errors.Join(os.Chmod(dir, 0o755), os.Mkdir(d.at("spool"), 0o755), os.Mkdir(d.at("conf"), 0o755), os.Mkdir(d.at("own"), 0o777), unix.Chmod(d.at("own"), 0o1777),
		os.WriteFile(d.at("spool/job"), []byte("secret"), 0o644), os.WriteFile(d.at("table"), []byte("secret"), 0o644), os.WriteFile(d.at("conf/unit"), []byte("text"), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	d.listen("door.sock")
	d.listen("own/server")
	return d
}

func (d doors) at(name string) string { return filepath.Join(d.dir, name) }

// listen opens a socket everybody may connect to.
func (d doors) listen(name string) {
	d.t.Helper()
	l, err := net.Listen("unix", d.at(name))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { l.Close() })
	if err := os.Chmod(d.at(name), 0o777); err != nil {
		d.t.Fatal(err)
	}
}

func (d doors) hiding() MaskPaths {
	return MaskPaths{
		Paths:    []string{d.at("*.sock"), d.at("spool"), d.at("table"), d.at("own"), d.at("nothing")},
		ReadOnly: []string{d.at("conf")},
	}
}

func TestMask_Paths(t *testing.T) {
	needRoot(t)
	d := newDoors(t)
	s := openHiding(t, mode(), false, d.hiding())
	var want []string
	for _, name := range []string{"conf", "door.sock", "own", "spool", "table"} {
		want = append(want, d.at(name))
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
	j := newJob(t, "run_doors", "cd "+d.dir+"; for try in '"+strings.Join(tries, "' '")+`'; do (eval "$try") >/dev/null 2>&1 && echo "DID $try"; done; touch own/mine && cat conf/unit && echo; echo end`)
	if out, _ := j.run(s); out != "text\nend\n" {
		t.Errorf("a child could:\n%s", out)
	}
	knock := newHostile(t, "run_knock", "connect "+d.at("door.sock"), "connect "+d.at("own/server"))
	knock.Argv[2] += "unshare -Urm sh <<X\n" + newHostile(t, "", "connect "+d.at("door.sock")).Argv[2] + "X\n"
	if out, _ := knock.run(s); strings.Count(out, "refused: ") != 3 || !strings.Contains(out, "connection refused") {
		t.Errorf("a child could:\n%s", out)
	}
	// The daemon and the host have lost nothing.
	if err := connect(d.at("door.sock")); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(d.at("spool/job")); err != nil || string(text) != "secret" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := os.Stat(d.at("own/mine")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a child made in a directory of its own is on the host: %v", err)
	}
}

// A door that opens while runs are under way closes for these too; one whose
// socket is made anew, as a restarted service does, again.
func TestMask_LaterPaths(t *testing.T) {
	needRoot(t)
	d := newDoors(t)
	s := openHiding(t, mode(), false, d.hiding())
	knocks := newHostile(t, "run_waits", "connect "+d.at("late.sock")).Argv[2]
	j := newJob(t, "run_waits", "echo up; until [ -e "+d.at("go")+" ]; do sleep 0.05; done; "+knocks)
	p := j.mustStart(s)
	j.says("up")
	for range 2 {
		_ = os.Remove(d.at("late.sock")) // the second time, as the service does
		d.listen("late.sock")
		eventually(t, "late socket hidden", func() bool { return hiddenNow(t, s.launcher, d.at("late.sock")) })
		// The look that covered it tells when it is through.
		eventually(t, "late socket told", func() bool { return slices.Contains(s.Isolation().Hidden, d.at("late.sock")) })
	}
	if err := os.WriteFile(d.at("go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	awaitProcess(t, p)
	if out := j.output(); !strings.Contains(out, "refused: ") {
		t.Errorf("a child could: %s", out)
	}
}

// hiddenNow looks at a path as a child would.
func hiddenNow(t *testing.T, l *launcher, path string) bool {
	t.Helper()
	type answer struct {
		mode os.FileMode
		err  error
	}
	seen := make(chan answer, 1)
	err := l.do(t.Context(), func() {
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
	s := openHiding(t, mode(), false, MaskPaths{ReadOnly: []string{"/proc/sys", "/sys"}})
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

// inOwnNamespace runs f on a thread with mounts of its own.
func inOwnNamespace(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go onThread(func() {
		if err := readonlyCgroups(); err != nil {
			done <- err
			return
		}
		done <- f()
	})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// onThread runs f on a thread that is not used again. Never the process's first
// one, which the runtime can't end and whose mounts /proc/self shows.
func onThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		onThread(f)
	}()
	<-done
	runtime.UnlockOSThread()
}

// A socket is the same one wherever its file system is mounted.
func TestMask_Aliases(t *testing.T) {
	needRoot(t)
	d := newDoors(t)
	if err := os.Mkdir(d.at("again"), 0o755); err != nil {
		t.Fatal(err)
	}
	inOwnNamespace(t, func() error {
		if err := unix.Mount(d.at("own"), d.at("again"), "", unix.MS_BIND, ""); err != nil {
			return err
		}
		h := pathMasker{MaskPaths: MaskPaths{Paths: []string{d.at("own/server")}, ReadOnly: []string{"/proc/sys"}}, log: slog.New(slog.DiscardHandler), mounts: true}
		for range 2 {
			h.scan()
			hidden, reachable := h.reachability()
			if diff := cmp.Diff([]string{"/proc/sys", d.at("again/server"), d.at("own/server")}, hidden); diff != "" || len(reachable) > 0 {
				return fmt.Errorf("reachable %v, hidden (-want +got):\n%s", reachable, diff)
			}
		}
		if err := connect(d.at("again/server")); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("connect through the other path: %w", err)
		}
		return nil
	})
}

// What the host mounts later below a read-only path would be writable.
func TestMask_LaterMountsBelowReadonly(t *testing.T) {
	needRoot(t)
	d := newDoors(t)
	inOwnNamespace(t, func() error {
		host, seen := d.at("spool"), d.at("conf")
		err := errors.Join(unix.Mount("none", host, "tmpfs", 0, ""), unix.Mount("", host, "", unix.MS_SHARED, ""),
			os.Mkdir(filepath.Join(host, "sub"), 0o755), unix.Mount(host, seen, "", unix.MS_BIND, ""), readOnlyNow(seen),
			unix.Mount("none", filepath.Join(host, "sub"), "tmpfs", 0, ""))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(seen, "sub/x"), nil, 0o600); !errors.Is(err, unix.EROFS) {
			return fmt.Errorf("a later mount is writable there: %w", err)
		}
		return nil
	})
}

func readOnlyNow(path string) error {
	target, err := openTarget(unix.AT_FDCWD, path)
	if err != nil {
		return err
	}
	defer target.close()
	return target.maskReadonly()
}

// A second scan of what is covered mounts nothing more.
func TestMask_ScanIsIdempotent(t *testing.T) {
	needRoot(t)
	d := newDoors(t)
	inOwnNamespace(t, func() error {
		h := pathMasker{MaskPaths: d.hiding(), log: slog.New(slog.DiscardHandler), mounts: true}
		var counts []int
		for range 3 {
			h.scan()
			mounts, err := threadMounts()
			if err != nil {
				return err
			}
			counts = append(counts, len(mounts))
		}
		if counts[1] != counts[0] || counts[2] != counts[0] {
			return fmt.Errorf("mounts after each scan: %v", counts)
		}
		return nil
	})
}

// Behind a wildcard anybody may have put a link: what it points to is not hidden.
func TestMask_ExpandFollowsOnlyTheOperatorsLinks(t *testing.T) {
	dir := t.TempDir()
	err := errors.Join(os.MkdirAll(filepath.Join(dir, "run/user/1"), 0o755), os.MkdirAll(filepath.Join(dir, "run/user/22"), 0o755),
		os.WriteFile(filepath.Join(dir, "run/user/1/bus"), nil, 0o644), os.WriteFile(filepath.Join(dir, "run/user/22/bus"), nil, 0o644),
		os.Symlink("run", filepath.Join(dir, "var")), os.Symlink("/etc", filepath.Join(dir, "run/user/3")), os.Symlink("1", filepath.Join(dir, "run/user/4")))
	if err != nil {
		t.Fatal(err)
	}
	h := pathMasker{root: unix.AT_FDCWD}
	for pattern, want := range map[string][]string{
		"/var/user/*/bus":     {"/run/user/1/bus", "/run/user/22/bus"},
		"/run/user/?/bus":     {"/run/user/1/bus"},
		"/run/user/*":         {"/run/user/1", "/run/user/22"},
		"/run/user/3":         nil,
		"/run/user":           {"/run/user"},
		"/run/none/*/x":       nil,
		"/run/*/[12]/b*":      {"/run/user/1/bus"},
		"/run/user/1/bus/*":   nil,
		"/run/user/1/bus/bus": nil,
	} {
		var got []string
		paths, _ := h.expand(dir + pattern)
		for _, path := range paths {
			got = append(got, strings.TrimPrefix(path, dir))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", pattern, diff)
		}
	}
}

// Where nothing can be hidden, the doors are told.
func TestMask_ReachableAreTold(t *testing.T) {
	d := newDoors(t)
	for name, want := range map[string]string{
		"door.sock": "door.sock", "spool": "spool", "table": "table", "own": "own/server", "nothing": "",
	} {
		got, found := findReachable(d.at(name))
		if found != (want != "") || found && got != d.at(want) {
			t.Errorf("%s: %q, %v; want %q", name, got, found, want)
		}
	}
	h := pathMasker{MaskPaths: d.hiding(), log: slog.New(slog.DiscardHandler)}
	h.scan()
	hidden, reachable := h.reachability()
	var want []string
	for _, name := range []string{"door.sock", "own/server", "spool", "table"} {
		want = append(want, d.at(name))
	}
	if diff := cmp.Diff(want, reachable); diff != "" || len(hidden) > 0 {
		t.Errorf("hidden %v, reachable (-want +got):\n%s", hidden, diff)
	}
	if _, err := os.Stat("/tmp/tmux-" + fmt.Sprint(os.Geteuid()+77777)); err == nil {
		t.Error("a directory was made for nobody")
	}
}

func BenchmarkScan(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root: makes a mount namespace")
	}
	h := pathMasker{log: slog.New(slog.DiscardHandler), mounts: true}
	for i := range 50 {
		h.Paths = append(h.Paths, fmt.Sprintf("/run/nothing-%d/*", i))
	}
	h.Paths = append(h.Paths, "/run/*.sock", "/run/lock", "/var/spool/cron")
	done := make(chan struct{})
	go onThread(func() {
		defer close(done)
		if err := readonlyCgroups(); err != nil {
			b.Error(err)
			return
		}
		for b.Loop() {
			h.scan()
		}
	})
	<-done
}
