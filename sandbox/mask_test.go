package sandbox

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"penstock/internal/masktest"
)

// A socket is the same one wherever its file system is mounted.
func TestMask_Aliases(t *testing.T) {
	needRoot(t)
	d := masktest.New(t)
	for _, dir := range []string{"again", "proc"} {
		if err := os.Mkdir(d.At(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	inOwnNamespace(t, func() error {
		if err := unix.Mount(d.At("own"), d.At("again"), "", unix.MS_BIND, ""); err != nil {
			return err
		}
		// Which is another file system, with the same settings in it.
		if err := unix.Mount("proc", d.At("proc"), "proc", 0, ""); err != nil {
			return err
		}
		h := pathMasker{MaskPaths: MaskPaths{Paths: []string{d.At("own/server")}, ReadOnly: []string{"/proc/sys"}}, log: slog.New(slog.DiscardHandler), mounts: true}
		for range 2 {
			h.scan()
			hidden, reachable := h.reachability()
			if diff := cmp.Diff([]string{"/proc/sys", d.At("again/server"), d.At("own/server"), d.At("proc/sys")}, hidden); diff != "" || len(reachable) > 0 {
				return fmt.Errorf("reachable %v, hidden (-want +got):\n%s", reachable, diff)
			}
		}
		if err := connect(d.At("again/server")); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("connect through the other path: %w", err)
		}
		return nil
	})
}

// What the host mounts later below a read-only path would be writable.
func TestMask_LaterMountsBelowReadonly(t *testing.T) {
	needRoot(t)
	d := masktest.New(t)
	inOwnNamespace(t, func() error {
		host, seen := d.At("spool"), d.At("conf")
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
	d := masktest.New(t)
	inOwnNamespace(t, func() error {
		h := pathMasker{MaskPaths: maskOf(d), log: slog.New(slog.DiscardHandler), mounts: true}
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

// Behind a wildcard any user may have put a link: what it points to is not hidden.
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

// Where nothing can be masked, what is reachable is told.
func TestMask_ReachableAreTold(t *testing.T) {
	d := masktest.New(t)
	for name, want := range map[string]string{
		"door.sock": "door.sock", "spool": "spool", "table": "table", "own": "own/server", "nothing": "",
	} {
		got, found := findReachable(d.At(name))
		if found != (want != "") || found && got != d.At(want) {
			t.Errorf("%s: %q, %v; want %q", name, got, found, want)
		}
	}
	h := pathMasker{MaskPaths: maskOf(d), log: slog.New(slog.DiscardHandler)}
	h.scan()
	hidden, reachable := h.reachability()
	var want []string
	for _, name := range []string{"door.sock", "own/server", "spool", "table"} {
		want = append(want, d.At(name))
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

// A child can make as many directories of such a name as it likes.
func TestMask_ScanIsLinear(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	closed := make(chan struct{})
	defer close(closed) // for a scan that is late, and would wait for the thread
	h := pathMasker{MaskPaths: MaskPaths{Paths: []string{filepath.Join(dir, "tmux-*")}}, log: slog.New(slog.DiscardHandler), mounts: true, closed: closed}
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

func maskOf(d masktest.Paths) MaskPaths {
	paths, readOnly := d.Mask()
	return MaskPaths{Paths: paths, ReadOnly: readOnly}
}
