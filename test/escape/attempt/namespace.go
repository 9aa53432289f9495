package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"penstock/test/escape/task"
)

// inside begins the name of a way that is tried in namespaces of one's own.
const inside = "in: "

const ownMounts = unix.CLONE_NEWUSER | unix.CLONE_NEWNS

// namespaceWays try again as root of a user namespace.
func namespaceWays() map[string]func(*attempt) error {
	in := func(flags uintptr, way string) func(*attempt) error {
		return func(a *attempt) error { return a.inside(flags, way) }
	}
	return map[string]func(*attempt) error{
		"user namespace: write cgroup.procs, clone3":            in(unix.CLONE_NEWUSER, "groups"),
		"user+mount namespaces: remount, unmount, bind, fresh":  in(ownMounts, "mounts"),
		"user+mount+cgroup namespaces: the same":                in(ownMounts|unix.CLONE_NEWCGROUP, "mounts"),
		"user+mount+cgroup+net+ipc+uts namespaces: the same":    in(ownMounts|unix.CLONE_NEWCGROUP|unix.CLONE_NEWNET|unix.CLONE_NEWIPC|unix.CLONE_NEWUTS, "mounts"),
		"user+pid+net namespaces: stay as their process 1":      pidNamespace,
		"user+mount+cgroup namespaces: hide in a group below":   in(ownMounts|unix.CLONE_NEWCGROUP, "below"),
		"user+mount+cgroup namespaces: freeze in a group below": in(ownMounts|unix.CLONE_NEWCGROUP, "frozen"),
		"user+mount+cgroup namespaces: a threaded group below":  in(ownMounts|unix.CLONE_NEWCGROUP, "threaded"),
		"user+mount+cgroup namespaces: raise its own limits":    in(ownMounts|unix.CLONE_NEWCGROUP, "limits"),
		"user+mount namespaces: uncover what is hidden":         in(ownMounts, "sockets"),
		"user+mount namespaces: uncover a run's record":         in(ownMounts, "record"),
		inside + "record":   uncoverRecord,
		inside + "groups":   func(a *attempt) error { return a.anyGroup("") },
		inside + "mounts":   allMounts,
		inside + "below":    func(a *attempt) error { return a.below("") },
		inside + "frozen":   func(a *attempt) error { return a.below("cgroup.freeze=1") },
		inside + "threaded": func(a *attempt) error { return a.below("cgroup.type=threaded") },
		inside + "limits":   ownLimits,
		inside + "sockets":  uncoverSockets,
		inside + "32 bits":  compatBirth,
	}
}

// uncoverRecord takes away what lies over the daemon's store, or looks for it
// where the directory above is shown again.
func uncoverRecord(a *attempt) error {
	store := filepath.Dir(filepath.Dir(filepath.Dir(a.Record)))
	return first(
		func() error { return errors.Join(unix.Unmount(store, unix.MNT_DETACH), a.forge(a.Record)) },
		func() error {
			dir, err := a.point()
			if err != nil {
				return err
			}
			if err := unix.Mount(filepath.Dir(store), dir, "", unix.MS_BIND, ""); err != nil {
				return err
			}
			return a.forge(filepath.Join(dir, filepath.Base(store), "runs", filepath.Base(filepath.Dir(a.Record)), filepath.Base(a.Record)))
		},
		func() error { return a.forge(a.Record) },
	)
}

// own are the attributes of a child that is root of a user namespace.
func own(flags uintptr) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  flags,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
}

// inside tries a way in namespaces of its own and waits for the end of it.
func (a *attempt) inside(flags uintptr, way string) error {
	t := a.Task
	t.Way = inside + way
	c := exec.Command(a.self)
	c.SysProcAttr = own(flags)
	return a.again(c, t)
}

// again has this program try another way.
func (a *attempt) again(c *exec.Cmd, t task.Task) error {
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(text), os.Stdout, os.Stdout
	if err := c.Run(); err != nil {
		return fmt.Errorf("in a process of its own: %w", err)
	}
	return nil
}

func allMounts(a *attempt) error {
	var errs []error
	for _, way := range []func(*attempt) error{remount, uncover, rebind, cloneTree, fresh, fsopen} {
		err := way(a)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func pidNamespace(a *attempt) error {
	attr := own(unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET)
	attr.Setsid = true
	_, err := start(a.self, attr, task.Linger, a.Token)
	return err
}

// view mounts what this process's own cgroup namespace shows: its own group as
// the top.
func (a *attempt) view() (string, error) {
	dir, err := a.point()
	if err != nil {
		return "", err
	}
	if err := unix.Mount("none", dir, "cgroup2", 0, a.Options); err != nil {
		return "", fmt.Errorf("mount cgroup2: %w", err)
	}
	return dir, nil
}

// below hides the marked process in groups below its own, after writing one
// of the inner group's files.
func (a *attempt) below(setting string) error {
	top, err := a.view()
	if err != nil {
		return err
	}
	dir := filepath.Join(top, "a", "b", "c")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	pid, err := start(a.self, &syscall.SysProcAttr{Setsid: true}, task.Linger, a.Token)
	if err != nil {
		return err
	}
	file, text, ok := bytes.Cut([]byte(setting), []byte("="))
	if ok && string(file) != "cgroup.freeze" {
		if err := os.WriteFile(filepath.Join(dir, string(file)), text, 0); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, pid), 0); err != nil {
		return err
	}
	if ok && string(file) == "cgroup.freeze" {
		return os.WriteFile(filepath.Join(dir, string(file)), text, 0)
	}
	return nil
}
