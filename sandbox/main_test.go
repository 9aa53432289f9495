package sandbox

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// hostileVariable makes this test binary send a signal and tell how it went.
const hostileVariable = "PENSTOCK_HOSTILE"

func TestMain(m *testing.M) {
	if pid := os.Getenv(hostileVariable); pid != "" {
		n, err := strconv.Atoi(pid)
		if err == nil {
			err = syscall.Kill(n, 0)
		}
		if err != nil {
			fmt.Println("refused:", err)
		} else {
			fmt.Println("DONE", pid)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// lab says that the machine must be able to do everything: no test may skip.
func lab() bool { return os.Getenv("PENSTOCK_LAB") == "1" }

const patience = 60 * time.Second

func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s: not within %s", what, patience)
	}
}

// eventually polls for what another thread does; it has no event to wait for.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

func connect(address string) error {
	c, err := net.Dial("unix", address)
	if err != nil {
		return err
	}
	return c.Close()
}

// script runs a shell script from the launcher thread and returns its output.
func script(t *testing.T, l *Launcher, text string) string {
	t.Helper()
	return scriptWith(t, l, text, nil)
}

// scriptWith has descriptors beside its stdio.
func scriptWith(t *testing.T, l *Launcher, text string, extra []*os.File) string {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	type result struct {
		proc *os.Process
		err  error
	}
	answer := make(chan result, 1)
	err = l.Do(t.Context(), func() {
		p, err := l.ForkExec(Child{
			Argv: []string{"/bin/sh", "-c", text}, Env: []string{"PATH=" + os.Getenv("PATH")}, Files: [3]*os.File{out, out, out}, Extra: extra,
		})
		answer <- result{p, err}
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
	if LandlockABI() < 2 {
		return EscapeRootAlone
	}
	return EscapeRoot
}

// writable opens a file for writing, and writes nothing.
func writable(path string) bool {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	return err == nil && f.Close() == nil
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

// bystander is a process of another user, outside of every run.
func bystander(t *testing.T) int {
	t.Helper()
	c := exec.Command("sleep", "600")
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
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
