package spawn

import (
	"os/user"
	"slices"
	"strconv"
	"sync"
	"syscall"
)

// doorGroups are groups whose members can have somebody else start a process as
// root, or read and write under the file system: on Debian, Ubuntu and Fedora
// the owners of engines' sockets, of raw disks and memory, and those whom
// polkit takes for administrators.
func doorGroups() []string {
	return []string{
		"root", "docker", "podman", "containerd", "lxd", "incus", "incus-admin", "libvirt", "libvirt-qemu",
		"disk", "kmem", "input", "sudo", "wheel", "admin",
	}
}

// identities takes such groups from the users that runs are. Safe for
// concurrent use.
type identities struct {
	doors map[uint32]string

	mu   sync.Mutex
	told map[uint32]bool // by group
}

// newIdentities asks lookup, in the manner of user.LookupGroup, for the ids.
func newIdentities(lookup func(string) (*user.Group, error)) *identities {
	i := &identities{doors: map[uint32]string{}, told: map[uint32]bool{}}
	for _, name := range doorGroups() {
		g, err := lookup(name)
		if err != nil {
			continue // not on this host
		}
		if gid, err := strconv.ParseUint(g.Gid, 10, 32); err == nil {
			i.doors[uint32(gid)] = name
		}
	}
	return i
}

// narrow gives a run's credential without those groups, and the names of the
// ones nobody has been told of yet. The primary group stays as it is: files of
// the user belong to it. Root keeps all it has.
func (i *identities) narrow(c *syscall.Credential) (narrowed *syscall.Credential, news []string) {
	if c == nil || c.Uid == 0 {
		return c, nil
	}
	out := *c
	out.NoSetGroups = false // the daemon's own groups are not the run's
	out.Groups = slices.DeleteFunc(slices.Clone(c.Groups), func(gid uint32) bool {
		_, door := i.doors[gid]
		return door && gid != c.Gid
	})
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, gid := range append([]uint32{c.Gid}, c.Groups...) {
		if name, door := i.doors[gid]; door && !i.told[gid] {
			i.told[gid] = true
			news = append(news, name)
		}
	}
	return &out, news
}
