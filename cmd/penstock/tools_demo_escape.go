package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// demoEscapeMax bounds how many groups /escape tries.
const demoEscapeMax = 1 << 12

// escape tries to leave the run's group and tells the client how it went.
func (p *demoProgram) escape() error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	tried, passed, moved := 0, 0, ""
	for _, root := range demoCgroupRoots(string(mounts)) {
		var n, through int
		n, moved = demoTryGroups(root, filepath.Join(root, demoOwnGroup(string(own))))
		if tried += n; moved != "" {
			break
		}
		through, moved = demoTryProcesses(root, demoOwnGroup(string(own)))
		if passed += through; moved != "" {
			break
		}
	}
	verdict := fmt.Sprintf("escape: refused by all of %d groups and %d processes of other users ", tried, passed)
	if moved != "" {
		verdict = fmt.Sprintf("escape: ESCAPED to %s ", moved)
	}
	return p.say(map[string]any{"text": verdict})
}

// demoCgroupRoots are the mount points of type cgroup2 in /proc/self/mountinfo
// (proc_pid_mountinfo(5)).
func demoCgroupRoots(mountinfo string) []string {
	var roots []string
	for line := range strings.Lines(mountinfo) {
		mount, fstype, ok := strings.Cut(line, " - ")
		fields := strings.Fields(mount)
		if ok && len(fields) > 4 && strings.HasPrefix(fstype, "cgroup2 ") {
			roots = append(roots, fields[4])
		}
	}
	return roots
}

// demoOwnGroup is the cgroup v2 path in /proc/self/cgroup (cgroups(7)).
func demoOwnGroup(cgroups string) string {
	for line := range strings.Lines(cgroups) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path
		}
	}
	return "/"
}

// demoTryGroups writes our pid to the cgroup.procs of each group below root but
// our own, until one takes it; it returns how many refused, and the one that didn't.
func demoTryGroups(root, own string) (tried int, moved string) {
	pid := []byte(strconv.Itoa(os.Getpid()))
	stop := errors.New("enough")
	_ = filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // what can't be listed can't be tried
		}
		if filepath.Clean(dir) == own {
			return nil
		}
		if demoJoin(filepath.Join(dir, "cgroup.procs"), pid) == nil {
			moved = dir
			return stop
		}
		if tried++; tried >= demoEscapeMax {
			return stop
		}
		return nil
	})
	return tried, moved
}

func demoJoin(path string, pid []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.Write(pid)
	return errors.Join(err, file.Close())
}
