package spawn

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/internal/bytesize"
	"penstock/internal/procinfo"
)

// MemoryFiles names the memory file systems in which runs can leave files that
// stay charged to all of them, as an operator outside of the service sees them
// (PrivateTmp=), each with what it holds; "" is that none is found.
func MemoryFiles() string {
	mounts, err := procinfo.Host.Mounts()
	if err != nil {
		return ""
	}
	var found []string
	for _, at := range sharedMemory(mounts, sticky) {
		var fs unix.Statfs_t
		if unix.Statfs(at.Point, &fs) != nil || fs.Blocks <= fs.Bfree {
			continue
		}
		used := (fs.Blocks - fs.Bfree) * uint64(fs.Bsize)
		found = append(found, fmt.Sprintf("%s: %s", outside(at, mounts), bytesize.Human(int64(used))))
	}
	return strings.Join(found, ", ")
}

// sharedMemory are the mounts of memory file systems on top, of directories that
// all users share, one of each file system and directory.
func sharedMemory(mounts []procinfo.Mount, shared func(path string) bool) (all []procinfo.Mount) {
	top := map[string]procinfo.Mount{}
	for _, m := range mounts {
		top[m.Point] = m // a later one lies on top
	}
	seen := map[string]bool{}
	for _, m := range mounts {
		key := m.Device + m.Root
		if m.FSType != "tmpfs" || top[m.Point].ID != m.ID || seen[key] || !shared(m.Point) {
			continue
		}
		seen[key] = true
		all = append(all, m)
	}
	return all
}

func sticky(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir() && info.Mode()&os.ModeSticky != 0
}

// outside is where a mount's directory lies on the host: a service's own /tmp is a
// directory of the host's.
func outside(at procinfo.Mount, mounts []procinfo.Mount) string {
	if at.Root == "/" {
		return at.Point
	}
	for _, m := range mounts {
		if m.Device == at.Device && m.Root == "/" {
			return filepath.Join(m.Point, at.Root)
		}
	}
	return filepath.Join("/tmp", at.Root) // the only place systemd puts them on a tmpfs
}
