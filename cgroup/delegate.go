package cgroup

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// daemonLeaf is the group the daemon itself lives in; the shipped unit names it
// in DelegateSubgroup=, so systemd and we must agree on it.
const daemonLeaf = "daemon"

// delegated says whether systemd gave the group away (Delegate=yes): it marks
// such a directory with an extended attribute, trusted.delegate readable by
// CAP_SYS_ADMIN only, user.delegate (systemd 251) by all.
func delegated(path string) bool {
	return hasMark(path, "user.delegate") || hasMark(path, "trusted.delegate")
}

func hasMark(path, name string) bool {
	var b [8]byte
	n, err := unix.Getxattr(path, name, b[:])
	return err == nil && string(b[:n]) == "1"
}

// delegatedRoot is the unit's group when we were started in it or, with
// DelegateSubgroup= (systemd 254), one level below it.
func delegatedRoot(own string) (string, bool) {
	if parent := filepath.Dir(own); filepath.Base(own) == daemonLeaf && delegated(parent) {
		return parent, true
	}
	return own, delegated(own)
}

// lookUnit offers the group that systemd, or a container engine, gave us.
func lookUnit(ctx context.Context, here place, o Options) (prospect, error) {
	root, ok := delegatedRoot(here.own)
	if !ok && os.Geteuid() != 0 {
		root, ok = askDelegated(ctx, here.own)
	}
	if !ok {
		return prospect{}, closed("set Delegate=yes in the unit", "%s: not delegated to us", here.own)
	}
	if isReadOnly(here.mount) {
		return prospect{}, readOnly(here)
	}
	if err := writable(root + "/cgroup.procs"); err != nil {
		return prospect{}, closed("set User= and Delegate=yes in the same unit", "%w: the group isn't ours", err)
	}
	if groups, err := children(root + "/" + runsDir); o.Trial && (len(groups) > 0 || err != nil && !vanished(err)) {
		return prospect{}, closed("ask that daemon: penstock ps", "%s: %w", root, errors.Join(ErrLive, err))
	}
	if err := checkType(root); err != nil {
		return prospect{}, err
	}
	if err := checkAlone(root, false); err != nil {
		return prospect{}, asClosed(err, "run as a unit with Delegate=yes")
	}
	has, err := controllers(root)
	if err != nil {
		return prospect{}, asClosed(err, "run as a unit with Delegate=yes")
	}
	return prospect{plan: "groups in " + root, has: has, take: at(here, site{path: root})}, nil
}
