package cgroup

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// DaemonLeaf is the group the daemon itself lives in; the shipped unit names it
// in DelegateSubgroup=, so systemd and we must agree on it.
const DaemonLeaf = "daemon"

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
	if parent := filepath.Dir(own); filepath.Base(own) == DaemonLeaf && delegated(parent) {
		return parent, true
	}
	return own, delegated(own)
}

// probeUnit offers the group that systemd, or a container engine, gave us.
func probeUnit(ctx context.Context, here Location, o Options) (candidate, error) {
	root, ok := delegatedRoot(here.Own)
	if !ok && os.Geteuid() != 0 {
		root, ok = DelegatedUnit(ctx, here.Own)
	}
	if !ok {
		return candidate{}, Refuse("set Delegate=yes in the unit", "%s: not delegated to us", here.Own)
	}
	if IsReadOnly(here.Mount) {
		return candidate{}, readOnlyMount(here)
	}
	if err := checkWritable(root + "/cgroup.procs"); err != nil {
		return candidate{}, Refuse("set User= and Delegate=yes in the same unit", "%w: the group isn't ours", err)
	}
	if groups, err := Children(root + "/" + RunsDir); o.Trial && (len(groups) > 0 || err != nil && !IsVanished(err)) {
		return candidate{}, Refuse("ask that daemon: penstock ps", "%s: %w", root, errors.Join(ErrLive, err))
	}
	if err := checkType(root); err != nil {
		return candidate{}, err
	}
	if err := checkAlone(root, false); err != nil {
		return candidate{}, WithRemedy(err, "run as a unit with Delegate=yes")
	}
	has, err := Controllers(root)
	if err != nil {
		return candidate{}, WithRemedy(err, "run as a unit with Delegate=yes")
	}
	return candidate{plan: "groups in " + root, controllers: has, acquire: acquired(here, rootSite{path: root})}, nil
}
