package spawn

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// unifiedProcs is the cgroup.procs file at the top of this host's v2 tree; it is
// only ever opened, never written.
func unifiedProcs(t *testing.T) string {
	t.Helper()
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mounts, err := parseMounts(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		if m.FSType == "cgroup2" {
			return filepath.Join(m.Point, "cgroup.procs")
		}
	}
	t.Skip("this machine has no cgroup2 mount")
	return ""
}

// script runs a shell script from the launcher thread and returns its output.
func script(t *testing.T, l *launcher, text string) string {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	answer := make(chan startResult, 1)
	err = l.do(t.Context(), func() {
		p, err := l.sandbox.forkExec("/bin/sh", []string{"sh", "-c", text}, &os.ProcAttr{
			Env: []string{"PATH=" + os.Getenv("PATH")}, Files: []*os.File{out, out, out}}, nil)
		answer <- startResult{p, err}
	})
	if err != nil {
		t.Fatal(err)
	}
	b := <-answer
	if b.err != nil {
		t.Fatal(b.err)
	}
	if _, err := b.proc.Wait(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a mount namespace")
	}
}

// rootEscape is what this kernel gives a daemon that is root.
func rootEscape() string {
	if landlockABI() < 2 {
		return escapeRootAlone
	}
	return escapeRoot
}

func TestLauncher_CgroupTreeIsReadonly(t *testing.T) {
	needRoot(t)
	procs := unifiedProcs(t)
	l, err := openLauncher(procs, MaskPaths{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if l.escape != rootEscape() || !l.works {
		t.Fatalf("escape proofing %q, proof %v", l.escape, l.works)
	}
	pid := strconv.Itoa(os.Getpid())
	for _, way := range []string{procs, "/proc/" + pid + "/root" + procs, "/proc/1/root" + procs, "/proc/" + pid + "/cwd/" + strings.Repeat("../", 20) + procs} {
		if got := script(t, l, "exec 3>>"+way+" && echo OPEN"); strings.Contains(got, "OPEN") {
			t.Errorf("a child opened %s for writing", way)
		}
	}
	top := filepath.Dir(procs)
	for _, try := range []string{"mount -o remount,rw,bind " + top, "umount " + top, "mount -t cgroup2 none /mnt"} {
		if got := script(t, l, try+" && echo DONE"); strings.Contains(got, "DONE") {
			t.Errorf("a child could %s", try)
		}
	}
	// The rest of the machine is as it was.
	if got := script(t, l, "echo x > /dev/null && cat "+procs+" >/dev/null && echo FINE"); got != "FINE\n" {
		t.Errorf("ordinary work in a child: %q", got)
	}
	if !writable(procs) {
		t.Error("the daemon's own threads lost the tree")
	}
}

// writable opens a file for writing, and writes nothing.
func writable(path string) bool {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	return err == nil && f.Close() == nil
}

func TestLauncher_ThreadIsItsOwn(t *testing.T) {
	needRoot(t)
	before, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	l, err := openLauncher(unifiedProcs(t), MaskPaths{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var tid int
	var there string
	ran := make(chan struct{})
	if err := l.do(t.Context(), func() {
		tid = unix.Gettid()
		there, _ = os.Readlink("/proc/thread-self/ns/mnt")
		close(ran)
	}); err != nil {
		t.Fatal(err)
	}
	await(t, "job", ran)
	if tid == os.Getpid() {
		t.Error("the launcher sits on the process's first thread")
	}
	if after, _ := os.Readlink("/proc/self/ns/mnt"); after != before || there == before {
		t.Errorf("namespaces: process %s, before %s, launcher %s", after, before, there)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	if err := l.do(t.Context(), func() {}); !errors.Is(err, errClosed) {
		t.Errorf("a closed launcher says %v", err)
	}
}

func TestLauncher_ChildrenAreStripped(t *testing.T) {
	needRoot(t)
	l, err := openLauncher(unifiedProcs(t), MaskPaths{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	status := script(t, l, "cat /proc/self/status")
	set := func(name string) uint64 {
		for line := range strings.Lines(status) {
			if value, ok := strings.CutPrefix(line, name+":\t"); ok {
				n, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
		}
		t.Fatalf("no %s in status", name)
		return 0
	}
	if set("NoNewPrivs") != 1 {
		t.Error("no_new_privs is not set")
	}
	for _, name := range []string{"CapBnd", "CapPrm", "CapEff"} {
		var want uint64
		for _, c := range allowedCaps() {
			want |= 1 << c
		}
		if got := set(name); got&^want != 0 || got&(1<<unix.CAP_SETUID) == 0 {
			t.Errorf("%s is %x, at most %x is granted", name, got, want)
		}
	}
	if set("CapInh") != 0 || set("CapAmb") != 0 {
		t.Error("inheritable or ambient set is not empty")
	}
}

func TestLauncher_TakesNothingWhenCancelled(t *testing.T) {
	l := &launcher{jobs: make(chan func()), done: make(chan struct{})}
	why := errors.New("client left")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := l.do(ctx, func() { t.Error("ran") }); !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
}

// TestLauncher_AsUser gives children the sandbox that those of a daemon without root get.
func TestLauncher_AsUser(t *testing.T) {
	procs := unifiedProcs(t)
	if os.Geteuid() == 0 && !writable(procs) {
		t.Fatal("the tree is read-only already: nothing to prove")
	}
	domain, err := writeDomain(false, nil)
	if landlockABI() < 2 {
		if err == nil || !strings.Contains(err.Error(), "landlock") {
			t.Fatalf("without Landlock: %v", err)
		}
		if lab() {
			return // its kernel has none: the refusal was the proof
		}
		t.Skipf("this kernel lacks Landlock ABI 2: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	l := &launcher{jobs: make(chan func()), quit: make(chan struct{}), done: make(chan struct{}), sandbox: sandbox{domain: domain, filter: runFilter(nil)}}
	ready := make(chan error, 1)
	go onThread(func() {
		defer close(l.done)
		ready <- unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		for {
			select {
			case job := <-l.jobs:
				job()
			case <-l.quit:
				return
			}
		}
	})
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	defer l.close()
	proved := make(chan error, 1)
	if err := l.do(t.Context(), func() { _, err := l.sandbox.probe(procs, ""); proved <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-proved; err != nil {
		t.Errorf("probe: %v", err)
	}
	for _, way := range []string{procs, "/proc/" + strconv.Itoa(os.Getpid()) + "/root" + procs} {
		if got := script(t, l, "exec 3>>"+way+" && echo OPEN"); strings.Contains(got, "OPEN") {
			t.Errorf("a child opened %s for writing", way)
		}
	}
	dir := t.TempDir()
	got := script(t, l, "cd "+dir+" && echo x >/dev/null && mkdir a b && echo 1 >a/f && mv a/f b/g && : >b/g && rm -r a b && echo FINE")
	if got != "FINE\n" {
		t.Errorf("ordinary work in a Landlock domain: %q", got)
	}
	if !writable(procs) && os.Geteuid() == 0 {
		t.Error("the daemon's own threads lost the tree")
	}
}

// A probe that finds something open says so.
func TestProbe_TellsWhatIsOpen(t *testing.T) {
	needRoot(t)
	procs := unifiedProcs(t)
	bare := noSandbox()
	if _, err := bare.probe(procs, ""); err == nil || !strings.Contains(err.Error(), "still writable") {
		t.Errorf("without a sandbox: %v", err)
	}
	if _, err := bare.probe("/proc/sys/nothing/here", ""); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a file that isn't there: %v", err)
	}
	half := sandbox{domain: -1}
	half.filter = runFilter(nil)
	if _, err := half.probe("/proc/self/nothing", ""); !errors.Is(err, unix.ENOENT) {
		t.Errorf("root needs no no_new_privs for a filter: %v", err)
	}
}

func TestWithinAndAbove(t *testing.T) {
	points := []string{"/sys/fs/cg", "/run/cg2"}
	for path, want := range map[string][2]bool{
		"/sys": {false, true}, "/sys/fs": {false, true}, "/sys/fs/cg": {true, false},
		"/sys/fs/cg/x": {true, false}, "/sys/fs/cgx": {false, false}, "/run": {false, true}, "/tmp": {false, false},
	} {
		if got := [2]bool{within(points, path), above(points, path)}; got != want {
			t.Errorf("%s: within, above = %v, want %v", path, got, want)
		}
	}
}
