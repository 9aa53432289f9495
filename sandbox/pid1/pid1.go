// Package pid1 is process 1 of a run that has process ids of its own: our program, which
// starts the CLI as its child, sees it to its end, and writes down what happened.
//
//	Main   Job -> mounts -> sandbox -> program -> CLI -> its end        pid1.go
//	  Writable  one tmpfs in several places                            writable.go
//	  hide      what of /proc is read-only or masked                   hide.go
//	Job    what the daemon asks for, by a descriptor                   job.go
//	Status what became of it: lines of a file that no run can write    status.go
//
// The CLI has neither descriptor, and can't reach this process: it isn't dumpable, and
// lies outside of the CLI's Landlock domain. What a CLI could still do to it, such as a
// signal on an old kernel, ends the run without a word of its end: which reads as a failure.
package pid1

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"penstock/internal/openat"
	"penstock/internal/procinfo"
	"penstock/sandbox"
)

// Descriptors that Main finds beside its stdio.
const (
	JobFD    = 3 // Job
	StatusFD = 4 // Status, opened to append
	StderrFD = 5 // the CLI's: the one it is born with is bubblewrap's
)

// Started is the byte that is written to the stderr it is born with once the CLI executes.
// What comes there before is for people, and without it nothing runs.
const Started = 0

// Exit statuses of Main where it has none of the CLI's. What they mean is in Status alone.
const (
	ExitFailed = 125 // the CLI was not started, or nothing is known of its end
	exitSignal = 128 // and the signal's number
)

// Main is the whole program. It returns what to exit with.
func Main() int {
	// The thread that puts on the sandbox is the one that starts the CLI.
	runtime.LockOSThread()
	// What the CLI has, it has from this process: nothing but its stdio.
	if err := unix.CloseRange(JobFD, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return ExitFailed
	}
	status := os.NewFile(StatusFD, "status")
	job, err := readJob(os.NewFile(JobFD, "job"))
	if err != nil {
		return fail(status, "read the job", err)
	}
	if step, err := prepare(job); err != nil {
		return fail(status, step, err)
	}
	inner, err := sandbox.OpenInner(sandbox.InnerOptions{NoFile: job.noFile(), AbstractSockets: job.AbstractSockets})
	if err != nil {
		return fail(status, "put on its sandbox", err)
	}
	child := job.child()
	program, err := lookPath(job.Process.Args[0], job.Process.Env)
	if err != nil {
		return failMissing(status, err)
	}
	child.Argv = append([]string{program}, child.Argv[1:]...)
	cli, err := inner.ForkExec(child)
	if err != nil {
		return failStart(status, err)
	}
	if err := inner.DropCaps(); err != nil {
		_ = unix.Kill(cli, unix.SIGKILL)
		return fail(status, "drop its capabilities", err)
	}
	// The only one: a channel for each costs more than all the rest of this start. None comes
	// before it is told that the CLI has started, and that runs meanwhile.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go forward(signals, cli)
	runtime.Gosched() // threads that these need are to be there when this process's are counted
	if err := write(status, record{Started: cli, Pool: job.pool()}); err != nil {
		// A run is none of which nothing will be known.
		_ = unix.Kill(cli, unix.SIGKILL)
		return ExitFailed
	}
	// What waited for this may have gone, and the CLI runs: os.Stderr would end this process
	// by SIGPIPE then.
	_, _ = unix.Write(2, []byte{Started})
	_ = unix.Dup3(StderrFD, 2, unix.O_CLOEXEC)
	return await(status, cli)
}

// prepare is what needs this process's rights.
func prepare(job *Job) (step string, err error) {
	if score := job.Process.OOMScoreAdj; score != nil {
		f, err := openat.Plain("/proc/self/oom_score_adj", os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString(strconv.Itoa(*score))
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return "set its OOM score", err
		}
	}
	// None of the mounts of another user namespace can be changed: copies can be covered.
	if job.UserNamespace {
		if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
			return "take a mount namespace", err
		}
	}
	if job.Writable != nil {
		if err := job.Writable.mount(job.owner()); err != nil {
			return "make its writable directories", err
		}
	}
	if err := hide(job); err != nil {
		return "cover /proc", err
	}
	return "", nil
}

// forward passes SIGTERM on.
func forward(signals <-chan os.Signal, cli int) {
	for range signals {
		_ = unix.Kill(cli, unix.SIGTERM) // once that is reaped this process ends, too
	}
}

// await reaps whatever ends until the CLI does. The kernel ends what survives it, together
// with this process, before the one outside hears of it.
func await(status *os.File, cli int) int {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fail(status, "wait for the CLI", err)
		case pid != cli:
			continue
		}
		end := ended{Code: ws.ExitStatus(), Survivors: survivors()}
		code := end.Code
		if ws.Signaled() {
			end.Code, end.Signal, end.Core = -1, int(ws.Signal()), ws.CoreDump()
			code = exitSignal + end.Signal
		}
		if write(status, record{Ended: &end}) != nil {
			return ExitFailed
		}
		return code
	}
}

// survivors counts what lives beside this process; what has ended only waits to be reaped.
func survivors() int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	n := 0
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == 1 {
			continue
		}
		if s, err := procinfo.Host.Stat(pid); err == nil && s.State != "Z" && s.State != "X" {
			n++
		}
	}
	return n
}

// lookPath finds the program where the CLI will see it: mounts are part of that.
func lookPath(program string, env []string) (string, error) {
	if strings.Contains(program, "/") {
		return program, nil // execve tells what is wrong with it
	}
	path := ""
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, "PATH="); ok {
			path = value
		}
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		full := filepath.Join(dir, program)
		if info, err := os.Stat(full); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return full, nil
		}
	}
	return "", fmt.Errorf("%s: not on PATH %s: %w", program, path, fs.ErrNotExist)
}
