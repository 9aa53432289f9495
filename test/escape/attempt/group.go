package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"penstock/test/escape/task"
)

// groupWays go straight at the groups.
func groupWays() map[string]func(*attempt) error {
	return map[string]func(*attempt) error{
		"write cgroup.procs of a sibling":   func(a *attempt) error { return a.move(a.Sibling) },
		"write cgroup.procs of the daemon":  func(a *attempt) error { return a.move(a.Leaf) },
		"write cgroup.procs of the parents": func(a *attempt) error { return a.moveAny(filepath.Dir(a.Sibling), a.Root, filepath.Dir(a.Root)) },
		"write cgroup.procs of the top":     func(a *attempt) error { return a.move(a.Mount) },
		"write cgroup.threads of any":       threads,
		"make a group outside and join it":  func(a *attempt) error { return a.nest(a.Root, filepath.Dir(a.Root), a.Mount) },
		"clone3 into a sibling":             func(a *attempt) error { return a.cloneInto(a.Sibling) },
		"clone3 into the daemon's group":    func(a *attempt) error { return a.cloneInto(a.Leaf) },
		"clone3 into a parent":              func(a *attempt) error { return a.cloneAny(filepath.Dir(a.Sibling), a.Root, filepath.Dir(a.Root)) },
		"clone3 into the top":               func(a *attempt) error { return a.cloneInto(a.Mount) },
		"clone3 by a 32-bit call":           compatClone,
		"io_uring opens and writes":         ringWrite,
		"inherited descriptor":              inherited,
		"open_by_handle_at":                 byHandle,
	}
}

// targets are the groups one might want to be in, easiest first.
func (a *attempt) targets() []string {
	return []string{a.Leaf, a.Sibling, a.Mount, filepath.Dir(a.Root), a.Root, filepath.Dir(a.Sibling)}
}

// move puts this process into a group and leaves the marked one there.
func (a *attempt) move(dir string) error {
	if err := join(filepath.Join(dir, "cgroup.procs")); err != nil {
		return err
	}
	return a.linger()
}

func (a *attempt) moveAny(dirs ...string) error {
	var errs []error
	for _, dir := range dirs {
		err := a.move(dir)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// join writes "0", which is the writer, to a list of processes or threads.
func join(list string) error {
	f, err := os.OpenFile(list, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("0")
	return errors.Join(err, f.Close())
}

func threads(a *attempt) error {
	var errs []error
	for _, dir := range a.targets() {
		err := join(filepath.Join(dir, "cgroup.threads"))
		if err == nil {
			return a.linger()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// nest makes a group of its own below one of the directories.
func (a *attempt) nest(dirs ...string) error {
	var errs []error
	for _, dir := range dirs {
		own := filepath.Join(dir, "escape-"+a.Token)
		err := os.Mkdir(own, 0o755)
		if err == nil {
			err = a.move(own)
		}
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// cloneInto gives birth to the marked process in another group: needs no write
// to any file, an O_PATH descriptor of the directory is enough.
func (a *attempt) cloneInto(dir string) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	return a.cloneAt(fd, dir)
}

func (a *attempt) cloneAt(fd int, name string) error {
	_, err := start(a.self, &syscall.SysProcAttr{Setsid: true, UseCgroupFD: true, CgroupFD: fd}, task.Linger, a.Token)
	if err != nil {
		return fmt.Errorf("clone3 into %s: %w", name, err)
	}
	return nil
}

func (a *attempt) cloneAny(dirs ...string) error {
	var errs []error
	for _, dir := range dirs {
		err := a.cloneInto(dir)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// anyGroup is what an attempt does that may have found a writable tree at prefix.
func (a *attempt) anyGroup(prefix string) error {
	var errs []error
	for _, dir := range a.targets() {
		// A fresh mount shows the tree at its own top.
		for _, at := range []string{prefix + dir, prefix + strings.TrimPrefix(dir, a.Mount)} {
			err := a.move(at)
			if err == nil {
				return nil
			}
			if errs = append(errs, err); a.cloneInto(at) == nil {
				return nil
			}
		}
	}
	return errors.Join(errs...)
}

// inherited looks for a descriptor of a group or of one of its files.
func inherited(a *attempt) error {
	for fd := 3; fd < 256; fd++ {
		if err := a.use(fd); err == nil {
			return nil
		}
	}
	return errors.New("no descriptor of a group is open")
}

// use tries whatever a descriptor on the cgroup file system allows.
func (a *attempt) use(fd int) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return err
	}
	if st.Type != unix.CGROUP2_SUPER_MAGIC {
		return errors.New("not on a cgroup file system")
	}
	if _, err := unix.Write(fd, []byte("0")); err == nil {
		return a.linger()
	}
	if procs, err := unix.Openat(fd, "cgroup.procs", unix.O_WRONLY|unix.O_CLOEXEC, 0); err == nil {
		defer unix.Close(procs)
		if _, err := unix.Write(procs, []byte("0")); err == nil {
			return a.linger()
		}
	}
	return a.cloneAt(fd, "a descriptor")
}

// byHandle opens the groups by their numbers rather than their names: as root
// a run may have CAP_DAC_READ_SEARCH.
func byHandle(a *attempt) error {
	mount, err := unix.Open(a.Mount, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	var errs []error
	for _, dir := range a.targets() {
		handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, dir, 0)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fd, err := unix.OpenByHandleAt(mount, handle, unix.O_RDONLY|unix.O_CLOEXEC)
		if err != nil {
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

// run waits for a program and tells what it said when it failed.
func run(program string, args ...string) error {
	return runWith(exec.Command(program, args...))
}

func runWith(c *exec.Cmd) error {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	c.WaitDelay = 200 * time.Millisecond // a background child may hold the pipe
	if err := c.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("%s: %w: %s", filepath.Base(c.Path), err, strings.TrimSpace(out.String()))
	}
	return nil
}
