package cgroup

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock/cgroup/cgroupfs"
)

// roleVariable makes the test binary play a program instead of testing.
const roleVariable = "PENSTOCK_CGROUP_ROLE"

// play is the main function of a victim. Each says "ready" when it is in place.
func play(role string, args []string) int {
	switch role {
	case "quit":
		return 0
	case "sleep":
		ready()
		time.Sleep(time.Minute)
	case "nap":
		ready()
		time.Sleep(400 * time.Millisecond)
	case "alloc": // MiB
		block := make([]byte, number1(args)<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		ready()
		time.Sleep(time.Minute)
		fmt.Print(block[len(block)/2])
	case "grow": // MiB, once its standard input says so
		ready()
		one := make([]byte, 1)
		if _, err := os.Stdin.Read(one); err != nil {
			return 1
		}
		return play("alloc", args)
	case "fork": // count
		for range number1(args) {
			if pid, errno := fork(); errno == 0 && pid == 0 {
				pause()
			}
		}
		ready()
		time.Sleep(time.Minute)
	case "spin":
		ready()
		for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		}
	case "storm":
		ready()
		storm(5)
	case "daemonize": // generations
		n := number1(args)
		if n == 0 {
			ready()
			time.Sleep(time.Minute)
			return 0
		}
		c := self("daemonize", strconv.Itoa(n-1))
		c.Stdout = os.Stdout
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := c.Start(); err != nil {
			fmt.Println(err)
			return 1
		}
	case "write": // file
		if err := os.WriteFile(args[0], make([]byte, 256<<10), 0o600); err != nil {
			fmt.Println(err)
			return 1
		}
	case "daemon":
		return playDaemon(args)
	}
	return 0
}

// opened is what the "daemon" role tells about its Open.
type opened struct {
	Err, Path, Source, Self, Group string
	Unsupported                    bool
}

// playDaemon opens a root named args[0], makes a run with a sleeper in it if
// args[1] says "run", reports, and waits for its standard input to end.
func playDaemon(args []string) int {
	ctx := context.Background()
	var o opened
	r, err := Open(ctx, Options{Mode: Available, Name: args[0]})
	if err == nil && len(args) > 1 && strings.HasPrefix(args[1], "again") {
		r, err = openAgain(ctx, r, args)
	}
	if err != nil {
		o.Err = err.Error()
	} else {
		o.Path, o.Source = r.Path(), r.Source()
		if len(args) > 1 && args[1] == "run" {
			g, err := r.NewGroup("left", nil)
			if err != nil {
				o.Err = err.Error()
			} else {
				c := self("sleep")
				c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.FD(), Setsid: true}
				if err := c.Start(); err != nil {
					o.Err = err.Error()
				}
				o.Group = g.dir.Path
			}
		}
	}
	if here, err := cgroupfs.FindLocation(); err == nil {
		o.Self = here.Own
	}
	if err := json.NewEncoder(os.Stdout).Encode(o); err != nil {
		return 1
	}
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err == nil || r == nil {
		return 0
	}
	if err := r.Close(ctx); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// openAgain is what a daemon's successor in the same process does, told what was
// done before it or not, alone in its group or beside what a container engine's
// exec has put there.
func openAgain(ctx context.Context, r *Tree, args []string) (*Tree, error) {
	o := Options{Mode: Available, Name: args[0]}
	left, err := r.Detach()
	if err != nil {
		return nil, err
	}
	if args[1] != "again, told nothing" {
		o.Origin = &left
	}
	if args[1] == "again, beside another" {
		c := self("sleep")
		if err := c.Start(); err != nil {
			return nil, err
		}
		defer func() {
			_ = c.Process.Kill()
			_ = c.Wait()
		}()
	}
	return Open(ctx, o)
}

func ready() { fmt.Println("ready") }

func number1(args []string) int {
	n, _ := strconv.Atoi(args[0])
	return n
}

// fork and what runs in its child use raw system calls only: of Go's threads
// just the calling one exists there.
func fork() (uintptr, syscall.Errno) {
	pid, _, errno := syscall.RawSyscall(syscall.SYS_FORK, 0, 0, 0)
	return pid, errno
}

func pause() {
	for {
		syscall.RawSyscall(syscall.SYS_PAUSE, 0, 0, 0)
	}
}

// storm forks three ways for some generations: 364 processes unless they are ended.
func storm(generations int) {
	if generations > 0 {
		for range 3 {
			if pid, errno := fork(); errno == 0 && pid == 0 {
				storm(generations - 1)
			}
		}
	}
	pause()
}

func self(role string, args ...string) *exec.Cmd {
	c := exec.Command("/proc/self/exe", args...)
	c.Env = append(os.Environ(), roleVariable+"="+role)
	return c
}

// victim is a started program and its standard output.
type victim struct {
	*exec.Cmd
	out *bufio.Reader
}

// born starts a victim inside the group whose directory is fd.
func born(t *testing.T, fd int, role string, args ...string) *victim {
	t.Helper()
	c := self(role, args...)
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: fd >= 0, CgroupFD: max(fd, 0)}
	return start(t, c)
}

func start(t *testing.T, c *exec.Cmd) *victim {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout, c.Stderr = w, os.Stderr
	err = c.Start()
	w.Close()
	if err != nil {
		r.Close()
		t.Fatalf("start %v: %v", c.Args, err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
		r.Close()
	})
	return &victim{c, bufio.NewReader(r)}
}

// ready waits for n victims (a tree says it more than once) to be in place.
func (v *victim) ready(t *testing.T) *victim {
	t.Helper()
	if s := v.line(t); s != "ready" {
		t.Fatalf("%v said %q, want ready", v.Args, s)
	}
	return v
}

func (v *victim) line(t *testing.T) string {
	t.Helper()
	s, err := v.out.ReadString('\n')
	if err != nil {
		t.Fatalf("%v ended before it was ready: %v (%v)", v.Args, err, v.Wait())
	}
	return strings.TrimSpace(s)
}

// signal is what ended the victim, 0 when it exited by itself.
func (v *victim) signal(t *testing.T) syscall.Signal {
	t.Helper()
	v.Wait()
	ws := v.ProcessState.Sys().(syscall.WaitStatus)
	if !ws.Signaled() {
		return 0
	}
	return ws.Signal()
}
