package cgroup

import (
	"bytes"
	"fmt"
	"os"
	"slices"
)

// Procs lists the processes of a group and all groups below it, sorted. Groups
// that vanish meanwhile are skipped; a threaded group's cgroup.procs can't be
// read, but its processes are listed in the domain above it.
func (d *Dir) Procs() ([]int, error) {
	at, err := d.open(".") // no path is asked for who may pass
	if IsVanished(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return procsBelow(at)
}

func ProcsAt(path string) ([]int, error) {
	at, err := OpenDir(path)
	if err != nil {
		return nil, err
	}
	return procsBelow(at)
}

// procsBelow closes at.
func procsBelow(at *Dir) ([]int, error) {
	var pids []int
	err := walkTree(at, func(d *Dir) error {
		b, err := d.Read("cgroup.procs")
		if IsAbsent(err) || IsVanished(err) {
			return nil
		}
		if err != nil {
			return err
		}
		own, err := parsePIDs(bytes.NewReader(b))
		if err != nil {
			return fmt.Errorf("parse %s/cgroup.procs: %w", d.Path, err)
		}
		pids = append(pids, own...)
		return nil
	}, func(int, string) error { return nil })
	if err != nil && !IsVanished(err) {
		return nil, err
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// DirectProcs lists the processes of exactly the group at path.
func DirectProcs(path string) ([]int, error) {
	f, err := os.Open(path + "/cgroup.procs")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parsePIDs(f)
}

// Children names the groups directly below path.
func Children(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}
