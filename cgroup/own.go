package cgroup

import "path/filepath"

// OwnMemoryMax is the tightest memory.max over this process: its own group's or
// that of any group above it we can see, in bytes. It is not ok where none is
// set or none can be read (no cgroup v2, no memory controller).
func OwnMemoryMax() (int64, bool) {
	here, err := findPlace()
	if err != nil {
		return 0, false
	}
	return memoryMaxAbove(here.own, here.mount.point)
}

func memoryMaxAbove(path, top string) (int64, bool) {
	least := unlimited
	for {
		if v, err := parseFile(path+"/memory.max", parseValue); err == nil {
			least = min(least, v)
		}
		if path == top || len(path) <= len(top) {
			break
		}
		path = filepath.Dir(path)
	}
	return int64(least), least != unlimited
}
