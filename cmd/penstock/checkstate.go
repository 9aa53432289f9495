package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	runs "penstock/run"
)

// checkState says whether the state directory can be used, and whether a daemon
// does so. It leaves nothing there.
func checkState(dir string) (f finding, running bool) {
	f = finding{Area: "state", Name: "state_dir", OK: true, Detail: dir}
	there, err := nearest(dir)
	if err == nil {
		err = tryWrite(there)
	}
	if err != nil {
		f.OK = false
		f.Detail = fmt.Sprintf("%s: not writable: %s", dir, err)
		f.Remedy = "set state_dir to a directory of the daemon's own"
		return f, false
	}
	var fs unix.Statfs_t
	if unix.Statfs(there, &fs) == nil && fs.Flags&unix.ST_NOEXEC != 0 {
		f.OK, f.Advice = false, true
		f.Detail += ": mounted noexec: what agents build in their runs' own directories can't be executed"
		f.Remedy = "set state_dir to a file system without noexec, or give runs a cwd elsewhere"
	}
	if there != dir {
		f.Detail += " (will be made)"
		return f, false
	}
	release, err := lockState(dir)
	switch {
	case errors.Is(err, errAlive):
		running = true
		f.OK, f.Detail, f.Remedy = false, err.Error(), "stop it, or set state_dir to another one"
	case err != nil:
		f.OK, f.Detail = false, err.Error()
	default:
		release()
	}
	return f, running
}

// checkStore foretells whether durable runs can be had: what the daemon believes of
// them must be out of the reach of runs.
func checkStore(dir string) finding {
	f := finding{Area: "isolation", Name: "records", OK: true}
	wall, err := runs.StoreOutlook(dir)
	if err != nil {
		f.OK, f.Advice = false, true
		f.Detail = "durable runs (X-Run-Id) would be refused: runs could write to the daemon's records: " + err.Error()
		f.Remedy = "set state_dir to one whose parent directories this user can't write, set XDG_RUNTIME_DIR, or run as root"
		return f
	}
	f.Detail = "the daemon's records are " + wall
	return f
}

// tryWrite makes a directory and removes it: permission bits don't tell of
// read-only mounts, nor do they bind root.
func tryWrite(dir string) error {
	probe, err := os.MkdirTemp(dir, ".penstock-check-")
	if err != nil {
		return err
	}
	return os.Remove(probe)
}

// nearest is the path or the closest directory above it that exists.
func nearest(path string) (string, error) {
	for {
		info, err := os.Stat(path)
		switch {
		case err == nil && !info.IsDir():
			return path, &fs.PathError{Op: "stat", Path: path, Err: unix.ENOTDIR}
		case err == nil, !errors.Is(err, fs.ErrNotExist), path == filepath.Dir(path):
			return path, err
		}
		path = filepath.Dir(path)
	}
}
