package sandbox

import (
	"os/user"
	"slices"
	"strconv"
	"sync"
	"syscall"
)

// privilegedGroups are groups whose members can have another program start a process as
// root, or read and write under the file system: on Debian, Ubuntu and Fedora
// the owners of engines' sockets, of raw disks and memory, and those that
// polkit takes for administrators.
func privilegedGroups() []string {
	return []string{
		"root", "docker", "podman", "containerd", "lxd", "incus", "incus-admin", "libvirt", "libvirt-qemu",
		"disk", "kmem", "input", "sudo", "wheel", "admin",
	}
}

// GroupFilter takes such groups from the users that runs are. Safe for
// concurrent use.
type GroupFilter struct {
	privileged map[uint32]string

	mu     sync.Mutex
	warned map[uint32]bool // by group
}

// NewGroupFilter asks lookup, in the manner of user.LookupGroup, for the ids.
func NewGroupFilter(lookup func(string) (*user.Group, error)) *GroupFilter {
	f := &GroupFilter{privileged: map[uint32]string{}, warned: map[uint32]bool{}}
	for _, name := range privilegedGroups() {
		g, err := lookup(name)
		if err != nil {
			continue // not on this host
		}
		if gid, err := strconv.ParseUint(g.Gid, 10, 32); err == nil {
			f.privileged[uint32(gid)] = name
		}
	}
	return f
}

// DropPrivileged gives a run's credential without those groups, and the names of the
// ones not yet warned of. The primary group stays as it is: files of
// the user belong to it. Root keeps all it has.
func (f *GroupFilter) DropPrivileged(c *syscall.Credential) (kept *syscall.Credential, dropped []string) {
	if c == nil || c.Uid == 0 {
		return c, nil
	}
	out := *c
	out.NoSetGroups = false // the daemon's own groups are not the run's
	out.Groups = slices.DeleteFunc(slices.Clone(c.Groups), func(gid uint32) bool {
		_, isPrivileged := f.privileged[gid]
		return isPrivileged && gid != c.Gid
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, gid := range append([]uint32{c.Gid}, c.Groups...) {
		if name, isPrivileged := f.privileged[gid]; isPrivileged && !f.warned[gid] {
			f.warned[gid] = true
			dropped = append(dropped, name)
		}
	}
	return &out, dropped
}
