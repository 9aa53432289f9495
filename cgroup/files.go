package cgroup

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// CountFiles has the enforcer count what lies in a tmpfs as the group's memory, to which
// alone it belongs: the kernel would, and the tasks' resident memory doesn't tell. dir is a
// directory of it, by a descriptor that the group closes as it is removed: as long as that
// is open, the files are in memory, and no mount over them hides them.
func (g *Group) CountFiles(dir *os.File) error {
	if _, err := usedIn(dir); err != nil {
		return errors.Join(fmt.Errorf("count files of group %s: %w", g.id, err), dir.Close())
	}
	g.files.dir.Store(dir)
	return nil
}

// memoryFiles is a tmpfs that a group's tasks alone fill; none is the zero value.
type memoryFiles struct{ dir atomic.Pointer[os.File] }

func (m *memoryFiles) used() (bytes uint64, err error) {
	dir := m.dir.Load()
	if dir == nil {
		return 0, nil
	}
	return usedIn(dir)
}

// close gives the memory back, unless a process still has the files.
func (m *memoryFiles) close() error {
	if dir := m.dir.Swap(nil); dir != nil {
		return dir.Close()
	}
	return nil
}

// close lets go of what is open of a group that is removed, or another's from now on.
func (g *Group) close() error { return errors.Join(g.files.close(), g.dir.Close()) }

// usedIn is what a tmpfs has in memory, or in swap.
func usedIn(dir *os.File) (bytes uint64, err error) {
	conn, err := dir.SyscallConn()
	if err != nil {
		return 0, err
	}
	var stat unix.Statfs_t
	var statErr error
	if err := conn.Control(func(fd uintptr) { statErr = unix.Fstatfs(int(fd), &stat) }); err != nil {
		return 0, err
	}
	if statErr != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir.Name(), Err: statErr}
	}
	if stat.Type != unix.TMPFS_MAGIC {
		return 0, fmt.Errorf("%s: no tmpfs", dir.Name())
	}
	return bytesOf(stat), nil
}

// inodeBytes is what a file takes beside its pages, as a tmpfs itself reckons it: without
// that a million empty files would be nothing.
const inodeBytes = 1 << 10

func bytesOf(s unix.Statfs_t) uint64 {
	return (s.Blocks-min(s.Bfree, s.Blocks))*uint64(s.Bsize) + (s.Files-min(s.Ffree, s.Files))*inodeBytes
}
