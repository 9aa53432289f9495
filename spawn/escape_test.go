package spawn

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/outcome"
	"penstock/sandbox"
)

// Neither a read-only mount nor Landlock is asked by CLONE_INTO_CGROUP.
func TestEscape_Clone3IntoAnotherGroup(t *testing.T) {
	s := open(t, false)
	root := s.root.Path()
	other := newJob(t, "run_other", "echo up; exec sleep 600")
	p := other.mustStart(s)
	other.says("up")
	deeds := []string{"clone3 " + root, "clone3 " + filepath.Dir(root), "clone3 " + groupDir(s, "run_other")}
	out, _ := newHostile(t, "run_clone3", deeds...).run(s)
	if strings.Contains(out, "DONE") || strings.Count(out, "refused: ") != len(deeds) {
		t.Errorf("a child started another one in another group:\n%s", out)
	}
	p.End(outcome.Cancelled)
	awaitProcess(t, p)
}

// What the kernel lets a process do to its parent, or to one of its user.
func TestEscape_DaemonIsNotTouched(t *testing.T) {
	s := open(t, false)
	deeds := []string{"parent", fmt.Sprintf("limit %d", os.Getpid())}
	// The hostile process itself must be the daemon's child.
	for i, deed := range deeds {
		j := newHostile(t, fmt.Sprintf("run_touch_%d", i), deed)
		j.Argv[2] = strings.Replace(j.Argv[2], "' ", "' exec ", 1)
		if out, _ := j.run(s); !strings.Contains(out, "refused: operation not permitted") {
			t.Errorf("a child could: %s", out)
		}
	}
	out, _ := newJob(t, "run_limits", "ulimit -c 0 && ulimit -c; sh -c 'exit 3'; echo $?").run(s)
	if out != "0\n3\n" {
		t.Errorf("its own limits and children: %q", out)
	}
	if out, _ := newHostile(t, "run_self", "limit 0").run(s); !strings.HasPrefix(out, "DONE") {
		t.Errorf("its own limit: %s", out)
	}
}

// System V memory ends with the run that made it.
func TestSandbox_SharedMemoryEndsWithItsRun(t *testing.T) {
	needRoot(t)
	if _, err := os.Stat("/proc/self/ns/ipc"); err != nil {
		t.Skipf("this kernel has no IPC namespaces: %v", err)
	}
	segments := func() int {
		text, err := os.ReadFile("/proc/sysvipc/shm")
		if err != nil {
			t.Skipf("this kernel has no System V memory: %v", err)
		}
		return strings.Count(string(text), "\n")
	}
	before := segments()
	out, _ := newHostile(t, "run_memory", "memory").run(open(t, false))
	if !strings.HasPrefix(out, "DONE") {
		t.Fatalf("no segment made: %s", out)
	}
	if after := segments(); after != before {
		t.Errorf("%d segments, %d before", after, before)
	}
}

// Two runs of the same user are strangers to each other.
func TestSandbox_RunsAreApart(t *testing.T) {
	if sandbox.LandlockABI() < sandbox.ScopeABI {
		if lab() {
			return // documented: its kernel has no Landlock
		}
		t.Skipf("this kernel has Landlock ABI %d: scopes came with %d", sandbox.LandlockABI(), sandbox.ScopeABI)
	}
	s := open(t, false)
	other := newJob(t, "run_other", "echo up; exec sleep 600")
	p := other.mustStart(s)
	other.says("up")
	pid := p.PID()
	outside, err := net.Listen("unix", fmt.Sprintf("@penstock-test-%d", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	deeds := []string{
		fmt.Sprintf("signal %d", pid), fmt.Sprintf("trace %d", pid), "connect " + outside.Addr().String(),
	}
	out, _ := newHostile(t, "run_stranger", deeds...).run(s)
	if strings.Contains(out, "DONE") || strings.Count(out, "refused: ") != len(deeds) {
		t.Errorf("a child could:\n%s", out)
	}
	if got, _ := newJob(t, "run_environ", fmt.Sprintf("cat /proc/%d/environ >/dev/null 2>&1 && echo READ; echo end", pid)).run(s); got != "end\n" {
		t.Errorf("a child read another run's environment: %s", got)
	}
	p.End(outcome.Cancelled)
	awaitProcess(t, p)
}

const overflow = 65534 // the uid of "nobody"

// passThrough opens a directory through /proc/PID/root of another user's
// process, wearing that user's file system ids, and with its own again moves
// this process into a group it makes there.
func passThrough(target string) int {
	runtime.LockOSThread()
	err := errors.Join(unix.Setfsgid(overflow), unix.Setfsuid(overflow))
	fd, openErr := unix.Open(target, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err = errors.Join(err, openErr, unix.Setfsuid(0), unix.Setfsgid(0)); err != nil {
		fmt.Println("refused:", err)
		return 0
	}
	if err := unix.Mkdirat(fd, "through", 0o755); err != nil {
		fmt.Println("refused:", err)
		return 0
	}
	procs, err := unix.Openat(fd, "through/cgroup.procs", unix.O_WRONLY, 0)
	if err == nil {
		_, err = unix.Write(procs, []byte("0"))
	}
	fmt.Println("PASSED:", err)
	return 0
}

// bystander is a process of another user, outside of every run.
func bystander(t *testing.T) int {
	t.Helper()
	c := exec.Command(look(t, "sleep"), "600")
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: overflow, Gid: overflow}}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = c.Wait() // tells the kill
	})
	return c.Process.Pid
}

// A root child keeps CAP_SETUID, and a process with the file system ids of a process
// without capabilities may pass through it into the daemon's mounts.
func TestEscape_RootThroughAnotherUser(t *testing.T) {
	needRoot(t)
	s := open(t, false)
	group := s.root.Path()
	out, _ := newHostile(t, "run_through", fmt.Sprintf("through /proc/%d/root%s", bystander(t), group)).run(s)
	_ = os.Remove(filepath.Join(group, "through")) // only there when it passed
	if sandbox.LandlockABI() < 2 {
		// What the docs say of such a kernel (the lab's).
		if !strings.Contains(out, "PASSED") || s.Isolation().Escape != sandbox.EscapeRootAlone {
			t.Errorf("without Landlock: %q says escape proofing, child: %s", s.Isolation().Escape, out)
		}
		return
	}
	if !strings.HasPrefix(out, "refused:") {
		t.Errorf("a child got out through another user's process: %s", out)
	}
	if e := s.Isolation().Escape; e != sandbox.EscapeRoot {
		t.Errorf("escape proofing %q", e)
	}
}

// Neither its environment nor its memory's layout: both need only a capability
// on newer kernels (perfmon_capable in fs/proc).
func TestEscape_RootReadsTheDaemon(t *testing.T) {
	needRoot(t)
	s := open(t, false)
	pid := strconv.Itoa(os.Getpid())
	out, _ := newJob(t, "run_reads", "for f in environ maps mem; do head -c 16 /proc/"+pid+"/$f >/dev/null && echo READ $f; done 2>/dev/null; echo end").run(s)
	if out != "end\n" {
		t.Errorf("a child could: %s", out)
	}
}

// What stays inside its own domain works as ever.
func TestSandbox_ChildrenSignalEachOther(t *testing.T) {
	s := open(t, false)
	out, o := newJob(t, "run_signals", "sleep 600 & kill -TERM $!; wait $! 2>/dev/null; echo $?; cat /proc/$$/environ >/dev/null && echo own").run(s)
	if out != "143\nown\n" || o.Exit != exited0 {
		t.Errorf("output %q, exit %+v", out, o.Exit)
	}
}

// A CLI's own sandbox needs mount(2) in a user namespace.
func TestSandbox_CLIsOwnSandboxCanMount(t *testing.T) {
	needRoot(t)
	s := open(t, false)
	const text = "unshare -Urm sh -c 'mount -t tmpfs none /mnt' && echo MOUNTED"
	out, _ := newJob(t, "run_sandbox", text).run(s)
	if got := strings.Contains(out, "MOUNTED"); got != (sandbox.LandlockABI() < 2 || sandbox.LandlockABI() >= sandbox.ScopeABI) {
		t.Errorf("mounted %v, Landlock ABI %d: %s", got, sandbox.LandlockABI(), out)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a mount namespace")
	}
}

// rootEscape is what this kernel gives a daemon that is root.
func rootEscape() string {
	if sandbox.LandlockABI() < 2 {
		return sandbox.EscapeRootAlone
	}
	return sandbox.EscapeRoot
}

// writable opens a file for writing, and writes nothing.
func writable(path string) bool {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	return err == nil && f.Close() == nil
}
