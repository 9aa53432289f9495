package main

import (
	"errors"

	"golang.org/x/sys/unix"

	runs "penstock/run"
	"penstock/server"
)

// checkState says whether the state directory can be used, and whether a daemon
// does so. It leaves nothing there.
func checkState(t server.Trial) (f finding, running bool) {
	dir := t.Config.StateDir
	f = finding{Area: "state", Name: "state_dir", OK: true, Detail: dir}
	there, err := t.State()
	if err != nil {
		f.refuse(err, "set state_dir to a directory of the daemon's own")
		return f, errors.Is(err, runs.ErrInUse)
	}
	var fs unix.Statfs_t
	if unix.Statfs(there, &fs) == nil && fs.Flags&unix.ST_NOEXEC != 0 {
		f.OK, f.Advice = false, true
		f.Detail += ": mounted noexec: what agents build in their runs' own directories can't be executed"
		f.Remedy = "set state_dir to a file system without noexec, or give runs a cwd elsewhere"
	}
	if there != dir {
		f.Detail += " (will be made)"
	}
	return f, false
}

// checkStore foretells whether durable runs can be had: what the daemon believes of
// them must be out of the reach of runs.
func checkStore(dir string) finding {
	f := finding{Area: "isolation", Name: "records", OK: true}
	wall, err := runs.StoreOutlook(dir)
	if err != nil {
		f.OK, f.Advice = false, true
		f.Detail = "durable runs (X-Run-Id) would be refused: runs could write to the daemon's records: " + err.Error()
		f.Remedy = "make a directory <state_dir>.store (mode 0700) below parents that this user can't write, set XDG_RUNTIME_DIR, or run as root"
		return f
	}
	f.Detail = "the daemon's records are " + wall
	return f
}
