package root

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"penstock/cgroup/cgroupfs"
	"penstock/systemd/scope"
)

// delegated says whether systemd gave the group away (Delegate=yes): it marks
// such a directory with an extended attribute, trusted.delegate readable by
// CAP_SYS_ADMIN only, user.delegate (systemd 251) by all.
func delegated(path string) bool {
	return hasXattr(path, "user.delegate") || hasXattr(path, "trusted.delegate")
}

func hasXattr(path, name string) bool {
	var b [8]byte
	n, err := unix.Getxattr(path, name, b[:])
	return err == nil && string(b[:n]) == "1"
}

// delegatedRoot is the unit's group when we were started in it or, with
// DelegateSubgroup= (systemd 254), one level below it.
func delegatedRoot(own string) (string, bool) {
	if parent := filepath.Dir(own); filepath.Base(own) == cgroupfs.DaemonLeaf && delegated(parent) {
		return parent, true
	}
	return own, delegated(own)
}

// probeUnit offers the group that systemd, or a container engine, gave us.
func probeUnit(ctx context.Context, here cgroupfs.Location, o Options) (candidate, error) {
	root, ok := delegatedRoot(here.Own)
	if !ok && os.Geteuid() != 0 {
		root, ok = scope.DelegatedUnit(ctx, here.Own)
	}
	if !ok {
		return candidate{}, cgroupfs.Refuse("set Delegate=yes in the unit", "%s: not delegated to us", here.Own)
	}
	if cgroupfs.IsReadOnly(here.Mount) {
		return candidate{}, readOnlyMount(here)
	}
	if err := checkWritable(root + "/cgroup.procs"); err != nil {
		return candidate{}, cgroupfs.Refuse("set User= and Delegate=yes in the same unit", "%w: the group isn't ours", err)
	}
	if groups, err := cgroupfs.Children(root + "/" + cgroupfs.RunsDir); o.Trial && (len(groups) > 0 || err != nil && !cgroupfs.IsVanished(err)) {
		return candidate{}, cgroupfs.Refuse("ask that daemon: penstock ps", "%s: %w", root, errors.Join(ErrLive, err))
	}
	if err := checkType(root); err != nil {
		return candidate{}, err
	}
	if err := checkAlone(root, false); err != nil {
		return candidate{}, cgroupfs.WithRemedy(err, "run as a unit with Delegate=yes")
	}
	has, err := cgroupfs.Controllers(root)
	if err != nil {
		return candidate{}, cgroupfs.WithRemedy(err, "run as a unit with Delegate=yes")
	}
	return candidate{plan: "groups in " + root, controllers: has, acquire: acquired(here, rootSite{path: root})}, nil
}
