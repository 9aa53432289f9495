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
	b, err := d.read("cgroup.procs")
	if absent(err) {
		b, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	pids, err := parsePIDs(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("parse %s/cgroup.procs: %w", d.path, err)
	}
	names, err := children(d.path)
	if err != nil && !vanished(err) {
		return nil, err
	}
	for _, name := range names {
		below, err := procsAt(d.path + "/" + name)
		if err != nil && !vanished(err) {
			return nil, err
		}
		pids = append(pids, below...)
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

func procsAt(path string) ([]int, error) {
	d, err := openDir(path)
	if err != nil {
		return nil, err
	}
	defer d.close()
	return d.procs()
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
