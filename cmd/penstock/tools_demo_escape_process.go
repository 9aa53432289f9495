package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
)

// demoTryProcesses tries to reach the groups below root through the mounts of
// each process of another user: who may change its file system ids (root) and
// takes that user's passes the kernel's ptrace check, unless something else
// forbids it. It returns how many refused, and the group that didn't.
func demoTryProcesses(root, own string) (tried int, moved string) {
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
		if moved = demoTryThrough(filepath.Join("/proc", e.Name(), "root", root), own, int(stat.Uid), int(stat.Gid)); moved != "" {
			return tried, moved
		}
		if tried++; tried >= demoEscapeMax {
			break
		}
	}
	return tried, ""
}

// demoTryThrough tries the groups below a root that only the given user may open.
func demoTryThrough(root, own string, uid, gid int) (moved string) {
	fd, err := demoOpenAs(root, uid, gid)
	if err != nil {
		return ""
	}
	dir := os.NewFile(uintptr(fd), root)
	defer dir.Close()
	// The trailing dot makes the walk follow the link.
	here := fmt.Sprintf("/proc/self/fd/%d", fd)
	if _, moved = demoTryGroups(here+"/.", filepath.Join(here, own)); moved != "" {
		return root
	}
	return ""
}

// demoOpenAs opens a directory with a user's file system ids, which belong to
// one thread, and takes our own again.
func demoOpenAs(path string, uid, gid int) (fd int, err error) {
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
