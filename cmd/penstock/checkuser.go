package main

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"penstock/config"
)

// checkUser tells of a backend's user that could not enter its runs' directories
// or start its program. It reads permission bits only: an access list may allow more.
func checkUser(b config.Backend, stateDir string) []finding {
	u, err := user.Lookup(b.User)
	if b.User == "" || err != nil {
		return nil // the configuration's own findings tell of a user that isn't there
	}
	groups, err := u.GroupIds()
	if err != nil {
		groups = []string{u.Gid}
	}
	note := finding{Area: "backend", Name: b.Name, Advice: true}
	var found []finding
	if stopped, at := blockedAt(filepath.Dir(stateDir), u.Uid, groups); stopped {
		note.Detail = fmt.Sprintf("user %s can't pass through %s to state_dir: its runs won't start", b.User, at)
		note.Remedy = "set state_dir to a directory it can reach, such as /var/lib/penstock"
		found = append(found, note)
	}
	if b.Missing != "" || len(b.Command) == 0 {
		return found
	}
	program, err := filepath.EvalSymlinks(b.Command[0])
	if err != nil {
		return found
	}
	if stopped, at := blockedAt(program, u.Uid, groups); stopped {
		note.Detail = fmt.Sprintf("user %s may not execute %s: %s is closed to it", b.User, b.Command[0], at)
		note.Remedy = "install it where that user can reach it"
		found = append(found, note)
	}
	return found
}

// blockedAt finds the first part of a path whose execute bit is not a user's. What
// isn't there yet would be made for the daemon alone.
func blockedAt(path, uid string, groups []string) (stopped bool, at string) {
	if path != filepath.Dir(path) {
		if stopped, at = blockedAt(filepath.Dir(path), uid, groups); stopped {
			return stopped, at
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return true, path
	}
	owner := info.Sys().(*syscall.Stat_t)
	need := os.FileMode(0o001)
	switch {
	case uid == "0":
		return false, ""
	case strconv.Itoa(int(owner.Uid)) == uid:
		need = 0o100
	case slices.Contains(groups, strconv.Itoa(int(owner.Gid))):
		need = 0o010
	}
	return info.Mode()&need == 0, path
}
