package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"penstock/internal/masktest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLauncher_CgroupTreeIsReadonly(t *testing.T) {
	needRoot(t)
	procs := filepath.Join(masktest.CgroupTree(t), "cgroup.procs")
	l, err := OpenLauncher(procs, MaskPaths{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
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

func TestLauncher_ThreadIsItsOwn(t *testing.T) {
	needRoot(t)
	before, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	l, err := OpenLauncher(filepath.Join(masktest.CgroupTree(t), "cgroup.procs"), MaskPaths{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var tid int
	var there string
	ran := make(chan struct{})
	if err := l.Do(t.Context(), func() {
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
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Do(t.Context(), func() {}); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed launcher says %v", err)
	}
}

func TestLauncher_ChildrenAreStripped(t *testing.T) {
	needRoot(t)
	l, err := OpenLauncher(filepath.Join(masktest.CgroupTree(t), "cgroup.procs"), MaskPaths{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
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
	l := &Launcher{jobs: make(chan func()), done: make(chan struct{})}
	why := errors.New("client left")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := l.Do(ctx, func() { t.Error("ran") }); !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
}

// TestLauncher_AsUser gives children the sandbox that those of a daemon without root get.
func TestLauncher_AsUser(t *testing.T) {
	procs := filepath.Join(masktest.CgroupTree(t), "cgroup.procs")
	if os.Geteuid() == 0 && !writable(procs) {
		t.Fatal("the tree is read-only already: nothing to prove")
	}
	domain, err := writeDomain(false, nil)
	if LandlockABI() < 2 {
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
	l := &Launcher{jobs: make(chan func()), quit: make(chan struct{}), done: make(chan struct{}), restrictions: restrictions{domain: domain, filter: putOn(nil)}}
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
	defer l.Close()
	proved := make(chan error, 1)
	if err := l.Do(t.Context(), func() { _, err := l.restrictions.probe(procs, ""); proved <- err }); err != nil {
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
	procs := filepath.Join(masktest.CgroupTree(t), "cgroup.procs")
	bare := noRestrictions()
	if _, err := bare.probe(procs, ""); err == nil || !strings.Contains(err.Error(), "still writable") {
		t.Errorf("without a sandbox: %v", err)
	}
	if _, err := bare.probe("/proc/sys/nothing/here", ""); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a file that isn't there: %v", err)
	}
	half := restrictions{domain: -1}
	half.filter = putOn(nil)
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

// A child that can't put on its sandbox is not started at all.
func TestForkExec_NoSandboxNoStart(t *testing.T) {
	l, err := OpenLauncher(filepath.Join(masktest.CgroupTree(t), "cgroup.procs"), MaskPaths{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	kept, ran := l.restrictions, filepath.Join(t.TempDir(), "ran")
	l.restrictions.filter = &unix.SockFprog{} // no program at all
	answer := make(chan error, 1)
	err = l.Do(t.Context(), func() {
		_, err := l.ForkExec(Child{Argv: []string{"/bin/sh", "-c", "echo >" + ran}, Files: [3]*os.File{os.Stdin, os.Stderr, os.Stderr}})
		answer <- err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-answer; !errors.Is(err, ErrSandbox) || !errors.Is(err, unix.EINVAL) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(ran); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it ran: %v", err)
	}
	l.restrictions = kept
	if got := script(t, l, "echo well"); got != "well\n" {
		t.Errorf("the next one says %q", got)
	}
}

// Where Landlock has no scopes the filter keeps accidents from the daemon.
func TestSeccompFilter_ProtectedPIDs(t *testing.T) {
	needRoot(t)
	victim := bystander(t)
	l, err := OpenLauncher(filepath.Join(masktest.CgroupTree(t), "cgroup.procs"), MaskPaths{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.restrictions.filter = putOn([]uint32{uint32(victim), uint32(1<<32 - 1)})
	if err := l.restrictions.close(); err != nil { // without the domain
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	deeds := fmt.Sprintf("%[1]s=%[2]d %[3]s\n%[1]s=-1 %[3]s\n", hostileVariable, victim, self)
	got := script(t, l, deeds+"sleep 600 & kill $! && wait $! 2>/dev/null; echo $?")
	if strings.Contains(got, "DONE") || strings.Count(got, "not permitted") != 2 || !strings.HasSuffix(got, "143\n") {
		t.Errorf("a child said: %s", got)
	}
}

// What is made for the next child beforehand is that child's alone.
func TestLauncher_EachChildHasAnIPCNamespace(t *testing.T) {
	needRoot(t)
	own, err := os.Readlink("/proc/self/ns/ipc")
	if err != nil {
		t.Skipf("this kernel has no IPC namespaces: %v", err)
	}
	l, err := OpenLauncher(filepath.Join(masktest.CgroupTree(t), "cgroup.procs"), MaskPaths{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	seen := []string{own}
	for _, ready := range []bool{false, true, false, true, true} {
		if ready {
			if err := l.Do(t.Context(), l.Ready); err != nil {
				t.Fatal(err)
			}
		}
		sleeper := make(chan *os.Process, 1)
		err := l.Do(t.Context(), func() {
			p, err := l.ForkExec(Child{Argv: []string{"/bin/sleep", "600"}, Files: [3]*os.File{os.Stdin, os.Stderr, os.Stderr}})
			if err != nil {
				t.Error(err)
			}
			sleeper <- p
		})
		if err != nil {
			t.Fatal(err)
		}
		p := <-sleeper
		if p == nil {
			return
		}
		defer func() { // all live until then: the number of a namespace that is gone is used again
			if err := p.Kill(); err != nil {
				t.Error(err)
			}
			if _, err := p.Wait(); err != nil {
				t.Error(err)
			}
		}()
		got, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/ipc", p.Pid))
		if err != nil || slices.Contains(seen, got) {
			t.Errorf("another has %q, too: %v", got, err)
		}
		seen = append(seen, got)
	}
}

func TestForkExec_ExtraFiles(t *testing.T) {
	l, err := OpenLauncher(filepath.Join(masktest.CgroupTree(t), "cgroup.procs"), MaskPaths{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// Crosswise: what becomes one descriptor of the child is another of ours.
	files := make([]*os.File, 40)
	for i := range files {
		name := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(name, fmt.Appendf(nil, "%d ", i), 0o600); err != nil {
			t.Fatal(err)
		}
		if files[len(files)-1-i], err = os.Open(name); err != nil {
			t.Fatal(err)
		}
		defer files[len(files)-1-i].Close()
	}
	want := ""
	for i := range files {
		want += strconv.Itoa(len(files)-1-i) + " "
	}
	const text = "for i in $(seq 3 42); do cat /proc/self/fd/$i; done; ls /proc/self/fd | grep -c ^"
	got := scriptWith(t, l, text, files)
	// And its stdio, and the directory that ls reads.
	if want += "44\n"; got != want {
		t.Errorf("a child's files: %q, want %q", got, want)
	}
}

// bubblewrap's launcher may mount, where others may not, and still writes no cgroup.
func TestMountingLauncher(t *testing.T) {
	needRoot(t)
	procs, hidden := filepath.Join(masktest.CgroupTree(t), "cgroup.procs"), filepath.Join(t.TempDir(), "hidden")
	if err := os.WriteFile(hidden, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	masks := MaskPaths{Paths: []string{hidden}}
	mounting, err := OpenMountingLauncher(masks, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer mounting.Close()
	plain, err := OpenLauncher(procs, masks, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	const mount = "unshare -m mount -t tmpfs none /mnt && echo MOUNTED; exit 0"
	if got := script(t, mounting, mount); got != "MOUNTED\n" {
		t.Errorf("its children can't mount: %q", got)
	}
	if got := script(t, plain, mount); strings.Contains(got, "MOUNTED") {
		t.Errorf("another's children can mount: %q", got)
	}
	for _, l := range []*Launcher{mounting, plain} {
		if got := script(t, l, "exec 3>>"+procs+" && echo OPEN"); strings.Contains(got, "OPEN") {
			t.Errorf("a child opened %s for writing", procs)
		}
		if got := script(t, l, "cat "+hidden); strings.Contains(got, "secret") {
			t.Errorf("%s is not masked", hidden)
		}
		if got := script(t, l, "grep -E '^NoNewPrivs' /proc/self/status"); got != "NoNewPrivs:\t1\n" {
			t.Errorf("%q", got)
		}
	}
	if got := script(t, mounting, "grep ' /sys' /proc/self/mountinfo"); got != "" {
		t.Errorf("a child that can mount sees the host's /sys: %s", got)
	}
	// No capability beside those, and those of others.
	got := script(t, mounting, "grep CapBnd /proc/self/status")
	bits, err := strconv.ParseUint(strings.TrimSpace(strings.TrimPrefix(got, "CapBnd:")), 16, 64)
	if err != nil || bits&(1<<unix.CAP_SYS_PTRACE|1<<unix.CAP_SYS_MODULE|1<<unix.CAP_MKNOD|1<<unix.CAP_DAC_READ_SEARCH) != 0 {
		t.Errorf("capabilities %q %v", got, err)
	}
}
