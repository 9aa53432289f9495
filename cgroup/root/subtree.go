package root

import (
	"context"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"penstock/cgroup/cgroupfs"
	"penstock/systemd/scope"
)

// probeSubtree offers a group below our own or, where that can't have limits, one
// below the container's root: an entry script that moved all processes out of the
// root, so that it may give its children controllers, has moved us, too.
func probeSubtree(_ context.Context, here cgroupfs.Location, o Options) (candidate, error) {
	if cgroupfs.IsReadOnly(here.Mount) {
		return candidate{}, readOnlyMount(here)
	}
	if p, ok := probeInherited(here, o); ok {
		return p, nil
	}
	p, err := probeBelow(here, here.Own, o.Name)
	top, ok := containerRoot(here)
	if !ok || (err == nil && p.requireKernel() == nil) {
		return p, err
	}
	if q, terr := probeBelow(here, top, o.Name); terr == nil && q.requireKernel() == nil {
		return q, nil
	}
	return p, err
}

func probeBelow(here cgroupfs.Location, parent, name string) (candidate, error) {
	const remedy = "run as root, as a unit with Delegate=yes, or in a container with a private writable cgroup namespace"
	if err := checkWritable(parent, parent+"/cgroup.procs"); err != nil {
		return candidate{}, cgroupfs.Refuse(remedy, "%w: no groups can be made below our own", err)
	}
	path := filepath.Join(parent, name)
	if err := cgroupfs.CheckLeafFree(path + "/" + cgroupfs.DaemonLeaf); err != nil {
		return candidate{}, err
	}
	if err := checkType(parent); err != nil {
		return candidate{}, err
	}
	if err := checkAlone(parent, cgroupfs.IsRealRoot(parent)); err != nil {
		return candidate{}, cgroupfs.WithRemedy(err, remedy)
	}
	has, err := cgroupfs.Controllers(parent)
	if err != nil {
		return candidate{}, cgroupfs.WithRemedy(err, remedy)
	}
	return candidate{plan: "groups in " + path, controllers: has, acquire: acquired(here, rootSite{path: path, parent: parent})}, nil
}

// containerRoot is the root of our cgroup namespace when that is a container's:
// neither the host's own root nor one that a service manager manages.
func containerRoot(here cgroupfs.Location) (string, bool) {
	top := here.Mount.Point
	if here.Mount.Root != "/" || top == here.Own || cgroupfs.IsRealRoot(top) {
		return "", false
	}
	_, err := os.Stat(scope.BootedDir)
	return top, os.IsNotExist(err)
}

func checkWritable(paths ...string) error {
	for _, path := range paths {
		if err := unix.Access(path, unix.W_OK); err != nil {
			return cgroupfs.WrapPath("access", path, err)
		}
	}
	return nil
}

func readOnlyMount(here cgroupfs.Location) error {
	return cgroupfs.Refuse("take ProtectControlGroups= out of the unit, or give the container a writable cgroup namespace", "%s: mounted read-only", here.Mount.Point)
}

// probeInherited offers the root in whose leaf we live: we made it below the
// group we came from, and detached from it for ourselves. The Origin handed over
// tells that by itself, whatever else an engine's exec has put there meanwhile;
// without one, we must live there alone.
func probeInherited(here cgroupfs.Location, o Options) (candidate, bool) {
	root := filepath.Dir(here.Own)
	if filepath.Base(here.Own) != cgroupfs.DaemonLeaf || filepath.Base(root) != o.Name {
		return candidate{}, false
	}
	if o.Origin == nil || o.Origin.Root != root {
		pids, err := cgroupfs.ProcsAt(here.Own)
		if err != nil || len(withoutSelf(pids)) > 0 {
			return candidate{}, false
		}
	}
	has, err := cgroupfs.Controllers(root)
	if err != nil {
		return candidate{}, false
	}
	s := rootSite{path: root, parent: filepath.Dir(root), inherited: true}
	return candidate{plan: "groups in " + root + ", which we have made before", controllers: has, acquire: acquired(here, s)}, true
}
