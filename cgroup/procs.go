package cgroup

import (
	"bytes"
	"fmt"
	"os"
	"slices"
)

// procs lists the processes of a group and all groups below it, sorted. Groups
// that vanish meanwhile are skipped; a threaded group's cgroup.procs can't be
// read, but its processes are listed in the domain above it.
func (d *dir) procs() ([]int, error) {
	at, err := d.open(".") // no path is asked for who may pass
	if vanished(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return procsBelow(at)
}

func procsAt(path string) ([]int, error) {
	at, err := openDir(path)
	if err != nil {
		return nil, err
	}
	return procsBelow(at)
}

// procsBelow closes at.
func procsBelow(at *dir) ([]int, error) {
	var pids []int
	err := descend(at, func(d *dir) error {
		b, err := d.read("cgroup.procs")
		if absent(err) || vanished(err) {
			return nil
		}
		if err != nil {
			return err
		}
		own, err := parsePIDs(bytes.NewReader(b))
		if err != nil {
			return fmt.Errorf("parse %s/cgroup.procs: %w", d.path, err)
		}
		pids = append(pids, own...)
		return nil
	}, func(int, string) error { return nil })
	if err != nil && !vanished(err) {
		return nil, err
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// ownProcs lists the processes of exactly the group at path.
func ownProcs(path string) ([]int, error) {
	f, err := os.Open(path + "/cgroup.procs")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parsePIDs(f)
}

// children names the groups directly below path.
func children(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}
