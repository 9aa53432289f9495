package spawn

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/internal/procinfo"
)

func newTestPoller(t *testing.T) *exitPoller {
	t.Helper()
	x, err := newExitPoller()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.close)
	return x
}

// Each child's exit is told once, and its status is left to be taken.
func TestExitPoller(t *testing.T) {
	x := newTestPoller(t)
	const children = 100 // more than one look at the kernel tells
	told := make(chan int, 2*children)
	running := map[int]*exec.Cmd{}
	for range children {
		cmd := exec.Command("/bin/sleep", "0.1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pid := cmd.Process.Pid
		running[pid] = cmd
		if _, err := x.watch(pid, func() { told <- pid }); err != nil {
			t.Fatal(err)
		}
	}
	for range children {
		select {
		case pid := <-told:
			if stat, err := procinfo.Host.Stat(pid); err != nil || stat.State != "Z" {
				t.Errorf("%d: told of a child in state %q, %v", pid, stat.State, err)
			}
			if err := running[pid].Wait(); err != nil {
				t.Error(err)
			}
			delete(running, pid)
		case <-time.After(10 * time.Second):
			t.Fatalf("%d children's exits were not told", len(running))
		}
	}
	if len(told) > 0 || len(x.watched) > 0 {
		t.Errorf("%d exits were told twice, %d children are still watched", len(told), len(x.watched))
	}
}

// cat is a child that lives until its stdin is closed.
func cat(t *testing.T) (cmd *exec.Cmd, in io.Closer) {
	t.Helper()
	cmd = exec.Command("/bin/cat")
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return cmd, in
}

// One that is not watched any more is not told of; forget says which of both it was.
func TestExitPoller_Forget(t *testing.T) {
	x := newTestPoller(t)
	cmd, in := cat(t)
	first, second := make(chan struct{}), make(chan struct{})
	forget, err := x.watch(cmd.Process.Pid, func() { close(first) })
	if err != nil || !forget() || forget() {
		t.Fatalf("not forgotten once: %v", err)
	}
	if forget, err = x.watch(cmd.Process.Pid, func() { close(second) }); err != nil {
		t.Fatal(err)
	}
	in.Close()
	await(t, "exit", second)
	if forget() {
		t.Error("an exit that was told is forgotten")
	}
	select {
	case <-first:
		t.Error("the exit was told to one that had forgotten it")
	default:
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestExitPoller_NoSuchProcess(t *testing.T) {
	x := newTestPoller(t)
	_, err := x.watch(1<<30, func() { t.Error("told of the exit of none") })
	if !errors.Is(err, syscall.ESRCH) && !errors.Is(err, syscall.EINVAL) || len(x.watched) > 0 {
		t.Errorf("%v, %d watched", err, len(x.watched))
	}
}

// A closed poller has let its descriptors go, those of live children too.
func TestExitPoller_Close(t *testing.T) {
	x, err := newExitPoller()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.watch(os.Getpid(), func() { t.Error("told of what lives") }); err != nil {
		t.Fatal(err)
	}
	var fd int
	for _, w := range x.watched {
		fd = w.pidfd
	}
	x.close()
	if err := unix.PidfdSendSignal(fd, 0, nil, 0); err == nil {
		t.Errorf("descriptor %d is still a process's", fd)
	}
}

// One that is to finish sees its last child to the end, and then lets its file go.
func TestExitPoller_Finish(t *testing.T) {
	x, err := newExitPoller()
	if err != nil {
		t.Fatal(err)
	}
	cmd, in := cat(t)
	exited, over := make(chan struct{}), make(chan struct{})
	if _, err := x.watch(cmd.Process.Pid, func() { close(exited) }); err != nil {
		t.Fatal(err)
	}
	x.finish()
	in.Close()
	await(t, "exit", exited)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	go func() {
		x.done.Wait()
		close(over)
	}()
	await(t, "the poller's end", over)
	if _, err := x.file.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("its file is open: %v", err)
	}
}
