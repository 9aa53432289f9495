package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"penstock/test/escape/task"
)

// stayWays leave a process behind without leaving the group: the kill has to
// find it.
func stayWays() map[string]func(*attempt) error {
	return map[string]func(*attempt) error{
		"double fork":                  doubleFork,
		"setsid":                       (*attempt).linger,
		"daemonize, closed fds":        daemonize,
		"chain of forks":               chain,
		"stopped process":              stopped,
		"born as the daemon's own":     parentsChild,
		"System V shared memory stays": sharedMemory,
	}
}

func doubleFork(a *attempt) error {
	return shell(`("$1" "$2" "$3" & ) &`, a.self, task.Linger, a.Token)
}

func daemonize(a *attempt) error {
	return shell(`trap "" HUP TERM INT; cd /; umask 0; (setsid setsid "$1" "$2" "$3" <&- >&- 2>&- &) & exec <&- >&- 2>&-`, a.self, task.Linger, a.Token)
}

func chain(a *attempt) error {
	_, err := start(a.self, &syscall.SysProcAttr{Setsid: true}, "chain", a.Token)
	return err
}

func stopped(a *attempt) error {
	pid, err := start(a.self, &syscall.SysProcAttr{Setsid: true}, task.Linger, a.Token)
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGSTOP)
}

// parentsChild makes the daemon the parent of a process: it would have to wait
// for what it never started, or collect zombies.
func parentsChild(a *attempt) error {
	for range 3 {
		if _, err := start(a.self, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_PARENT}, "leave", a.Token); err != nil {
			return err
		}
	}
	a.hold()
	return nil
}

// sharedMemory belongs to no process: it stays, and is charged to all runs together.
func sharedMemory(a *attempt) error {
	id, err := unix.SysvShmGet(task.Key(a.Token), 1<<20, unix.IPC_CREAT|0o600)
	if err != nil {
		return fmt.Errorf("shmget: %w", err)
	}
	text, err := unix.SysvShmAttach(id, 0, 0)
	if err != nil {
		return fmt.Errorf("shmat: %w", err)
	}
	clear(text[:1])
	return nil
}

// shell runs a script to its end; args are $1 and on.
func shell(script string, args ...string) error {
	return run("/bin/sh", append([]string{"-c", script, "sh"}, args...)...)
}

// scratch is a path of this attempt's own.
func (a *attempt) scratch(name string) string { return filepath.Join(a.Dir, a.Token+"-"+name) }

// script writes a program that starts the marked process.
func (a *attempt) script() (string, error) {
	path := filepath.Join(a.Dir, a.Token)
	return path, os.WriteFile(path, []byte("#!/bin/sh\n"+a.self+" "+task.Linger+" "+a.Token+" </dev/null >/dev/null 2>&1 &\n"), 0o755)
}
