package cgroup

import (
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
