package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/test/escape/task"
)

// throughWays reach a writable tree through a process that has one.
func throughWays() map[string]func(*attempt) error {
	root := func(pid func(*attempt) int) func(*attempt) error {
		return func(a *attempt) error { return a.anyGroup(proc(pid(a), "root")) }
	}
	return map[string]func(*attempt) error{
		"/proc/DAEMON/root":                  root(func(a *attempt) int { return a.Daemon }),
		"/proc/BYSTANDER/root":               root(func(a *attempt) int { return a.Bystander }),
		"/proc/1/root":                       root(func(*attempt) int { return 1 }),
		"/proc/DAEMON/cwd":                   throughCwd,
		"/proc/DAEMON/fd":                    throughFd,
		"pidfd_getfd of the daemon":          stealFd,
		"another user's ids, /proc/PID/root": throughOther,
		"nsenter process 1":                  func(a *attempt) error { return a.enter(1) },
		"nsenter the daemon":                 func(a *attempt) error { return a.enter(a.Daemon) },
		"nsenter a bystander":                func(a *attempt) error { return a.enter(a.Bystander) },
	}
}

func proc(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }

func throughCwd(a *attempt) error {
	return a.anyGroup(proc(a.Daemon, "cwd") + strings.Repeat("/..", 12))
}

// throughFd opens what the daemon has open, by its names in /proc.
func throughFd(a *attempt) error {
	entries, err := os.ReadDir(proc(a.Daemon, "fd"))
	if err != nil {
		return err
	}
	errs := []error{errors.New("no descriptor of a group")}
	for _, e := range entries {
		fd, err := unix.Open(proc(a.Daemon, "fd/"+e.Name()), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil || a.isOwn(fd) {
			continue
		}
		if err = a.use(fd); err == nil {
			return nil
		}
		errs = append(errs, err)
		unix.Close(fd)
	}
	return errors.Join(errs[0], errs[len(errs)-1])
}

// isOwn tells whether a descriptor is of the group this process is in anyway.
func (a *attempt) isOwn(fd int) bool {
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	own := a.ownGroup()
	return err == nil && (path == own || strings.HasPrefix(path, own+"/"))
}

func stealFd(a *attempt) error {
	pidfd, err := unix.PidfdOpen(a.Daemon, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	last := errors.New("the daemon has no descriptor")
	for n := 3; n < 64; n++ {
		fd, err := unix.PidfdGetfd(pidfd, n, 0)
		if err == unix.EBADF {
			continue
		}
		if err != nil {
			return fmt.Errorf("pidfd_getfd: %w", err)
		}
		if a.isOwn(fd) {
			continue
		}
		if last = a.use(fd); last == nil {
			return nil
		}
		unix.Close(fd)
	}
	return last
}

// throughOther wears the file system ids of another user, who has no
// capability, to pass through that user's process, and has its own again to
// write: ptrace rights are asked of the ids, write rights of the capabilities.
func throughOther(a *attempt) error {
	var st unix.Stat_t
	if err := unix.Stat(proc(a.Other, ""), &st); err != nil {
		return err
	}
	var errs []error
	for _, dir := range a.targets() {
		err := errors.Join(unix.Setfsgid(int(st.Gid)), unix.Setfsuid(int(st.Uid)))
		fd, openErr := unix.Open(proc(a.Other, "root")+dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err = errors.Join(err, openErr, unix.Setfsuid(os.Geteuid()), unix.Setfsgid(os.Getegid())); err != nil {
			errs = append(errs, err)
			continue
		}
		if err = a.use(fd); err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// enter takes another process's mount and cgroup namespaces.
func (a *attempt) enter(pid int) error {
	return run("/usr/bin/nsenter", "-t", strconv.Itoa(pid), "-m", "-C", "/bin/sh", "-c",
		`for g; do echo 0 >"$g/cgroup.procs" && exec setsid -f "$0" `+task.Linger+" "+a.Token+`; done; exit 1`,
		append([]string{a.self}, a.targets()...)[0], a.Leaf, a.Sibling, a.Mount)
}
