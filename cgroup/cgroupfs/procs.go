package cgroupfs

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
	at, err := d.Open(".") // by name: no permissions of a path are in the way
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

// walkTree visits the group at and all groups below it, each before those below
// it, closes at, and calls post with its parent's descriptor and its name when all below
// it were visited. It holds two descriptors and no path: a run may nest groups
// deeper than PATH_MAX can name. Groups that vanish meanwhile are skipped.
func walkTree(at *Dir, visit func(*Dir) error, post func(parent int, name string) error) error {
	defer func() { at.Close() }()
	type level struct {
		name string
		rest []string // its siblings still to be visited
	}
	var above []level
	rest, err := visitGroup(at, visit)
	for err == nil {
		if len(rest) > 0 {
			below, openErr := at.Open(rest[0])
			if IsVanished(openErr) {
				rest = rest[1:]
				continue
			}
			if openErr != nil {
				return openErr
			}
			above = append(above, level{rest[0], rest[1:]})
			at.Close()
			at = below
			rest, err = visitGroup(at, visit)
			continue
		}
		if len(above) == 0 {
			return nil
		}
		parent, openErr := at.Open("..")
		if openErr != nil {
			return openErr
		}
		at.Close()
		at = parent
		last := above[len(above)-1]
		above, rest = above[:len(above)-1], last.rest
		err = post(at.FD(), last.name)
	}
	return err
}

// visitGroup visits one group and names those directly below it.
func visitGroup(d *Dir, visit func(*Dir) error) ([]string, error) {
	if err := visit(d); err != nil {
		return nil, err
	}
	entries, err := d.f.ReadDir(-1)
	if err != nil && !IsVanished(err) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
