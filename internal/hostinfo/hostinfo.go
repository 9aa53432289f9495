// Package hostinfo is what this program asks prometheus/procfs for: the rest that it wants
// of /proc is in package procinfo.
//
//	PID/cgroup  Group, OwnGroup
//	PID/io      StorageBytes
//	swaps       SwapAreas
//	cmdline     BootOptions
//
// It is a package of its own because procfs makes 900 things at each program's start, most of
// them regular expressions: process 1 of a run in an image, which needs none, started 0.3 ms
// later.
package hostinfo

import (
	"errors"
	"fmt"
	"strings"

	"github.com/prometheus/procfs"
)

// FS is where a proc file system is mounted.
type FS string

// Host is the one of this process.
const Host FS = "/proc"

// Group is a process's cgroup v2 path as this process sees it: the line "0::" of
// cgroups(7). The end " (deleted)" is the kernel's.
func (p FS) Group(pid int) (string, error) {
	proc, err := p.process(pid)
	if err != nil {
		return "", err
	}
	return p.groupOf(proc)
}

// OwnGroup is Group of this process, which may have another pid here: this proc file
// system can be of another pid namespace.
func (p FS) OwnGroup() (string, error) {
	fs, err := procfs.NewFS(string(p))
	if err != nil {
		return "", err
	}
	proc, err := fs.Self()
	if err != nil {
		return "", err
	}
	return p.groupOf(proc)
}

func (p FS) groupOf(proc procfs.Proc) (string, error) {
	file := fmt.Sprintf("%d/cgroup", proc.PID)
	lines, err := proc.Cgroups()
	if err != nil {
		return "", p.named(file, err)
	}
	for _, l := range lines {
		if l.HierarchyID == 0 && l.Controllers == nil {
			return l.Path, nil
		}
	}
	return "", p.named(file, errors.New("no \"0::\" line: the kernel has no cgroup v2"))
}

// StorageBytes is what a process has read from and written to storage
// (proc_pid_io(5)). What was only moved between processes or over the network
// (rchar, wchar) is left out: a runtime that waits does that too.
func (p FS) StorageBytes(pid int) (uint64, error) {
	proc, err := p.process(pid)
	if err != nil {
		return 0, err
	}
	n, err := proc.IO()
	if err != nil {
		return 0, p.named(fmt.Sprintf("%d/io", pid), err)
	}
	return n.ReadBytes + n.WriteBytes, nil
}

func (p FS) process(pid int) (procfs.Proc, error) {
	fs, err := procfs.NewFS(string(p))
	if err != nil {
		return procfs.Proc{}, err
	}
	return fs.Proc(pid)
}

// SwapAreas counts the areas of proc_swaps(5).
func (p FS) SwapAreas() (int, error) {
	proc, err := procfs.NewFS(string(p))
	if err != nil {
		return 0, err
	}
	areas, err := proc.Swaps()
	return len(areas), p.named("swaps", err)
}

// BootOptions are the words of the kernel's command line (proc_cmdline(5)).
func (p FS) BootOptions() ([]string, error) {
	proc, err := procfs.NewFS(string(p))
	if err != nil {
		return nil, err
	}
	words, err := proc.CmdLine()
	return words, p.named("cmdline", err)
}

// named adds the file to an error that doesn't tell it.
func (p FS) named(file string, err error) error {
	path := string(p) + "/" + file
	if err == nil || strings.Contains(err.Error(), path) {
		return err
	}
	return fmt.Errorf("parse %s: %w", path, err)
}
