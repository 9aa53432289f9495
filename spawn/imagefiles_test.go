package spawn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/cgroup"
	"penstock/internal/imagetest"
	"penstock/outcome"
	"penstock/sandbox"
)

// filesMax is less than the run of filesJob may write.
const filesMax = 40 << 20

func filesJob(t testing.TB, root, id, text string) *job {
	j := inImageJob(t, root, id, text)
	j.Image.Root.Writable = 64 << 20
	j.Limits = cgroup.Resources(cgroup.Limits{MemoryMax: filesMax})
	return j
}

func fill(path string, mib int) string {
	return fmt.Sprintf("busybox dd if=/dev/zero of=%s bs=64k count=%d 2>/dev/null; ", path, 16*mib)
}

// What a run in an image writes into memory is its memory, whatever holds the limit here.
func TestImage_FilesCount(t *testing.T) { filesCount(t, openWithImages(t), imagetest.Root(t)) }

func filesCount(t *testing.T, s *Spawner, root string) {
	t.Helper()
	// Of the first run is what is opened once.
	first := filesJob(t, root, "files-first", "sleep 0.2")
	if _, o := first.run(s); o.Exit != exited0 {
		t.Fatalf("%+v", o)
	}
	first.Image.Status.Close() // which is the test's own
	fds := openFDs(t)
	for _, text := range []string{
		fill("/tmp/x", 60), fill("/var/tmp/x", 60), fill("/dev/shm/x", 60), fill("/home/agent/x", 60),
		fill("/tmp/x", 30) + fill("/dev/shm/x", 30),
		"busybox mount -t tmpfs none /tmp 2>/dev/null; busybox unshare -rm true 2>/dev/null; cd /; " + fill("/tmp/x", 60),
		"exec 9>/tmp/x; busybox rm /tmp/x; busybox dd if=/dev/zero bs=64k count=960 >&9 2>/dev/null; ", // which has no name
		"i=0; while [ $i -lt 60000 ]; do : >/tmp/$i; i=$((i+1)); done; ",                               // which have no pages
	} {
		j := filesJob(t, root, "files-over", text+"sleep 5")
		out, o := j.run(s)
		if v := outcome.Decide(outcome.Facts{Outcome: o, Limits: j.Limits}); v.Cause != outcome.MemoryLimit || !strings.Contains(v.Message, "40 MiB") {
			t.Errorf("%s: %+v, output %q, receipt %+v", text, v, out, o.Receipt)
		}
		j.Image.Status.Close()
	}
	j := filesJob(t, root, "files-below", fill("/tmp/x", 16)+"echo full; sleep 0.5; rm /tmp/x; echo empty; sleep 0.5; "+fill("/home/agent/x", 16)+"exit 3")
	p := j.mustStart(s)
	j.says("full")
	eventually(t, "16 MiB", func() bool {
		u, err := p.Usage()
		return err == nil && u.MemoryBytes != nil && *u.MemoryBytes > 16<<20
	})
	awaitProcess(t, p)
	most := uint64(32 << 20)
	if s.Enforced().Memory == cgroup.Kernel {
		most = filesMax // pages of programs are among it
	}
	if o := p.Outcome(); o.Exit.Code != 3 || o.Receipt.MemoryPeakBytes == nil || *o.Receipt.MemoryPeakBytes < 16<<20 || *o.Receipt.MemoryPeakBytes > most {
		t.Errorf("%+v, receipt %+v", o.Exit, o.Receipt)
	}
	j.Image.Status.Close()
	// The watch may be looking at a group that has just ended.
	eventually(t, fmt.Sprintf("no more than the %d descriptors of before", fds), func() bool { return openFDs(t) <= fds })
}

// The next daemon has them counted again.
func TestImage_FilesCountAdopted(t *testing.T) {
	runtime, root, dir := runtimeOf(t), imagetest.Root(t), t.TempDir()
	program, err := process1()
	if err != nil {
		t.Fatal(err)
	}
	pids := orphansOf(t, 1, playImageDaemon, rootName(), root, dir, strings.Join(program, " "),
		"while [ ! -e go ]; do sleep 0.02; done; "+fill("/tmp/x", 60)+"sleep 5")
	limits := cgroup.Resources(cgroup.Limits{MemoryMax: filesMax})
	log := slog.New(slog.NewTextHandler(logTo{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := Open(t.Context(), Options{
		Cgroup: cgroup.Options{Mode: mode(), Name: rootName(), Logger: log}, Runtime: runtime, Logger: log,
		Keep: []Leftover{{ID: "run0", Limits: limits, InImage: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	status, err := os.Open(statusIn(dir, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer status.Close()
	p, err := s.Adopt(Command{ID: "run0", Image: &Image{Status: status}}, pids[0], time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if s.Enforced().Memory != cgroup.Watch {
		p.End(outcome.Cancelled)
		awaitProcess(t, p)
		t.Skip("here the kernel counts them, whatever daemon there is")
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	awaitProcess(t, p)
	if v := outcome.Decide(outcome.Facts{Outcome: p.Outcome(), Limits: limits}); v.Cause != outcome.MemoryLimit {
		t.Errorf("%+v", v)
	}
}

// Where they can't be counted nothing is started.
func TestImage_FilesUncountable(t *testing.T) {
	s, root := openWithImages(t), imagetest.Root(t)
	if s.Enforced().Memory != cgroup.Watch || !sandbox.CanTrace() {
		t.Skip("here the kernel counts them, or this test has no CAP_SYS_PTRACE to do without")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var has [2]unix.CapUserData
	if err := unix.Capget(&header, &has[0]); err != nil {
		t.Fatal(err)
	}
	less := has
	less[0].Effective &^= 1 << unix.CAP_SYS_PTRACE
	if err := unix.Capset(&header, &less[0]); err != nil {
		t.Fatal(err)
	}
	_, err := filesJob(t, root, "files-uncountable", "exit 0").start(s)
	if err := unix.Capset(&header, &has[0]); err != nil {
		t.Fatal(err)
	}
	var failed *StartError
	if !errors.As(err, &failed) || failed.Cause != outcome.StartFailed || !errors.Is(err, errUncounted) || !strings.Contains(err.Error(), "CAP_SYS_PTRACE") {
		t.Errorf("%v", err)
	}
}

// TestImage_FilesCountWithoutRoot is TestImage_FilesCount of a daemon without root and
// without a memory controller, whose image runs have a user namespace.
func TestImage_FilesCountWithoutRoot(t *testing.T) {
	const asked = "PENSTOCK_FILES_AS_USER"
	if program := os.Getenv(asked); program != "" {
		filesWithoutRoot(t, strings.Fields(program))
		return
	}
	needRoot(t)
	s := open(t, false)
	program, err := process1()
	if err != nil {
		t.Fatal(err)
	}
	if process1Dir != "" {
		if err := os.Chmod(process1Dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	group := delegateIn(t, groupWithout(t, s))
	dir, err := os.Open(group)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	tmp, err := os.MkdirTemp("/tmp", "spawn-user")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chown(tmp, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3", "-test.run=^TestImage_FilesCountWithoutRoot$", "-test.v")
	cmd.Dir, cmd.ExtraFiles = tmp, []*os.File{self}
	cmd.Env = append(os.Environ(), asked+"="+strings.Join(program, " "), "TMPDIR="+tmp, "HOME="+tmp)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		UseCgroupFD: true, CgroupFD: int(dir.Fd()), Credential: &syscall.Credential{Uid: nobody, Gid: nobody},
	}
	out, err := cmd.CombinedOutput()
	t.Logf("as uid %d:\n%s", nobody, out)
	switch {
	case err == nil && strings.Contains(string(out), "--- PASS: TestImage_FilesCountWithoutRoot"):
	case err == nil && strings.Contains(string(out), "--- SKIP") && !lab():
		t.Skip("a plain user can't have runs in images here, see above")
	default:
		t.Errorf("as uid %d: %v", nobody, err)
	}
}

func filesWithoutRoot(t *testing.T, program []string) {
	if os.Geteuid() != nobody {
		t.Fatalf("uid %d", os.Geteuid())
	}
	f, err := os.Open(program[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	runtime, err := OpenRuntime(t.Context(), "", f, program[1:]...)
	if err == nil {
		err = runtime.Probe(t.Context(), false)
	}
	if err != nil {
		t.Skip(err)
	}
	log := slog.New(slog.NewTextHandler(logTo{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := Open(t.Context(), Options{Cgroup: cgroup.Options{Mode: cgroup.Available, Name: rootName(), Logger: log}, Runtime: runtime, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if by := s.Enforced().Memory; by != cgroup.Watch {
		t.Fatalf("memory is held by %s", by)
	}
	filesCount(t, s, imagetest.Root(t))
}

// groupWithout makes a group below the spawner's root whose own children have no controller.
func groupWithout(t *testing.T, s *Spawner) string {
	t.Helper()
	group := filepath.Join(s.root.Path(), "without")
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		eventually(t, "its removal", func() bool {
			err := syscall.Rmdir(group)
			return err == nil || errors.Is(err, os.ErrNotExist)
		})
	})
	return group
}
