package cgroup

import (
	"context"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// bootedBySystemd is the directory by which sd_booted(3) tells.
const bootedBySystemd = "/run/systemd/system"

// lookSubtree offers a group below our own or, where that can't have limits, one
// below the container's root: an entry script that moved everybody out of the
// root, so that it may give its children controllers, has moved us, too.
func lookSubtree(_ context.Context, here place, o Options) (prospect, error) {
	if here.mount.readOnly {
		return prospect{}, readOnly(here)
	}
	if p, ok := lookInherited(here, o); ok {
		return p, nil
	}
	p, err := lookBelow(here, here.own, o.Name)
	top, ok := containerRoot(here)
	if !ok || (err == nil && p.strictly() == nil) {
		return p, err
	}
	if q, terr := lookBelow(here, top, o.Name); terr == nil && q.strictly() == nil {
		return q, nil
	}
	return p, err
}

func lookBelow(here place, parent, name string) (prospect, error) {
	const remedy = "run as root, as a unit with Delegate=yes, or in a container with a private writable cgroup namespace"
	if err := writable(parent, parent+"/cgroup.procs"); err != nil {
		return prospect{}, closed(remedy, "%w: no groups can be made below our own", err)
	}
	path := filepath.Join(parent, name)
	if err := holderOf(path + "/" + daemonLeaf); err != nil {
		return prospect{}, err
	}
	if err := checkType(parent); err != nil {
		return prospect{}, err
	}
	if err := checkAlone(parent, isReal(parent)); err != nil {
		return prospect{}, asClosed(err, remedy)
	}
	has, err := controllers(parent)
	if err != nil {
		return prospect{}, asClosed(err, remedy)
	}
	return prospect{plan: "groups in " + path, has: has, take: at(here, site{path: path, parent: parent})}, nil
}

// containerRoot is the root of our cgroup namespace when that is a container's:
// neither the host's own root nor one that a service manager looks after.
func containerRoot(here place) (string, bool) {
	top := here.mount.point
	if here.mount.root != "/" || top == here.own || isReal(top) {
		return "", false
	}
	_, err := os.Stat(bootedBySystemd)
	return top, os.IsNotExist(err)
}

func writable(paths ...string) error {
	for _, path := range paths {
		if err := unix.Access(path, unix.W_OK); err != nil {
			return wrapPath("access", path, err)
		}
	}
	return nil
}

func readOnly(here place) error {
	return closed("take ProtectControlGroups= out of the unit, or give the container a writable cgroup namespace", "%s: mounted read-only", here.mount.point)
}
