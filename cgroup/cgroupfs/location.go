package cgroupfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"penstock/internal/hostinfo"
	"penstock/internal/procinfo"
)

// Location is where this process stands in the v2 tree.
type Location struct {
	Mount procinfo.Mount
	Own   string // directory of our own group
}

// FindLocation reads where we are; it is read anew for each Open because we move.
func FindLocation() (Location, error) {
	mounts, err := procinfo.Host.Mounts()
	if err != nil {
		return Location{}, err
	}
	self, err := hostinfo.Host.OwnGroup()
	if err != nil {
		return Location{}, err
	}
	m, own, err := Locate(mounts, self)
	if err != nil {
		return Location{}, err
	}
	if _, err := os.Stat(own + "/cgroup.procs"); err != nil {
		return Location{}, fmt.Errorf("our own group: %w", err)
	}
	return Location{Mount: m, Own: own}, nil
}

// IsRealRoot tells the host's root group, which alone may mix processes and
// controllers: it is the only one without a type.
func IsRealRoot(path string) bool {
	_, err := os.Stat(path + "/cgroup.type")
	return errors.Is(err, os.ErrNotExist)
}

// Locate finds the directory of group self; a writable mount of cgroup2 wins,
// then the last one, which lies on top.
func Locate(mounts []procinfo.Mount, self string) (procinfo.Mount, string, error) {
	mounts = slices.DeleteFunc(slices.Clone(mounts), func(m procinfo.Mount) bool { return m.FSType != "cgroup2" })
	if len(mounts) == 0 {
		return procinfo.Mount{}, "", errors.New("no cgroup2 mount in /proc/self/mountinfo: boot with systemd.unified_cgroup_hierarchy=1 or mount cgroup2")
	}
	if strings.HasSuffix(self, " (deleted)") {
		return procinfo.Mount{}, "", fmt.Errorf("our own group %s: removed under us: start the daemon from a group that exists", self)
	}
	var best procinfo.Mount
	var own string
	for _, m := range mounts {
		rel, ok := relativeTo(m.Root, self)
		if !ok {
			continue
		}
		if own == "" || IsReadOnly(best) || !IsReadOnly(m) {
			best, own = m, filepath.Join(m.Point, rel)
		}
	}
	if own == "" {
		return procinfo.Mount{}, "", fmt.Errorf("our own group %s: not below any cgroup2 mount: give the container its own cgroup namespace", self)
	}
	return best, own, nil
}

// IsReadOnly tells whether the mount, or its whole file system, refuses writes.
func IsReadOnly(m procinfo.Mount) bool {
	_, super := m.SuperOptions["ro"]
	return super || m.Has("ro")
}

// relativeTo is path seen from root. A group outside our cgroup namespace is shown as
// "/../name", which no mount of ours reaches.
func relativeTo(root, path string) (string, bool) {
	if strings.HasPrefix(root, "/..") || strings.HasPrefix(path, "/..") {
		return "", false
	}
	rel, err := filepath.Rel(root, path)
	return rel, err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// MemoryFile is where a program looks for what memory it may have, if it has a cgroup
// namespace of its own.
const MemoryFile = "/sys/fs/cgroup/memory.max"

// MemoryLink is another name of a program's for that.
type MemoryLink struct {
	Path string
	To   string // MemoryFile, from there
}

// MemoryLinks are the others that are looked for on this host. libuv, and so node, heeds one
// file only beside the other.
func MemoryLinks() []MemoryLink { return memoryLinks(hasV1()) }

func memoryLinks(v1 bool) []MemoryLink {
	all := []MemoryLink{{"/sys/fs/cgroup/memory.high", "memory.max"}}
	if v1 {
		for _, name := range []string{"memory.limit_in_bytes", "memory.soft_limit_in_bytes"} {
			all = append(all, MemoryLink{"/sys/fs/cgroup/memory/" + name, "../memory.max"})
		}
	}
	return all
}

// hasV1 tells whether /proc/self/cgroup has hierarchies of cgroup v1: they come first, and
// programs that read it then look for that one's files.
var hasV1 = sync.OnceValue(func() bool {
	text, err := os.ReadFile("/proc/self/cgroup")
	return err == nil && !strings.HasPrefix(string(text), "0::")
})
