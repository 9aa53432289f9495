package spawn

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

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

// A root child keeps CAP_SETUID, and who has the file system ids of a process
// without capabilities may pass through it into the daemon's mounts.
func TestEscape_RootThroughAnotherUser(t *testing.T) {
	needRoot(t)
	s := open(t, false)
	group := s.root.Path()
	out, _ := newHostile(t, "run_through", fmt.Sprintf("through /proc/%d/root%s", bystander(t), group)).run(s)
	_ = os.Remove(filepath.Join(group, "through")) // only there when it passed
	if landlockABI() < 2 {
		// What the docs say of such a kernel (the lab's).
		if !strings.Contains(out, "PASSED") || s.Isolation().Escape != escapeRootAlone {
			t.Errorf("without Landlock: %q says escape proofing, child: %s", s.Isolation().Escape, out)
		}
		return
	}
	if !strings.HasPrefix(out, "refused:") {
		t.Errorf("a child got out through another user's process: %s", out)
	}
	if e := s.Isolation().Escape; e != escapeRoot {
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
	if got := strings.Contains(out, "MOUNTED"); got != (landlockABI() < 2 || landlockABI() >= scopeABI) {
		t.Errorf("mounted %v, Landlock ABI %d: %s", got, landlockABI(), out)
	}
}
