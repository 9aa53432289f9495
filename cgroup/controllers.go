package cgroup

import (
	"path/filepath"
	"slices"

	"penstock/cgroup/cgroupfs"
)

// warnHugePages warns of those that runs may take beside their memory limits.
func (r *Root) warnHugePages(dir string) {
	held, _ := filepath.Glob(r.runs.Path + "/" + cgroupfs.Hugetlb + ".*.max")
	if len(held) == 0 && hugePages(dir) {
		r.log.Warn("huge pages: " + unheldHugePages + " (hint: " + remedyHugePages + ")")
	}
}

const hugePagesDir = "/sys/kernel/mm/hugepages"

// hugePages tells whether a host has any, or may make some, by what lies in
// hugePagesDir.
func hugePages(dir string) bool {
	files, _ := filepath.Glob(dir + "/*/nr_*hugepages")
	return slices.ContainsFunc(files, func(file string) bool {
		n, err := cgroupfs.ParseFile(file, cgroupfs.ParseValue)
		return err == nil && n > 0
	})
}
