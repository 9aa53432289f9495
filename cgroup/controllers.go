package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// needed controllers hold the limits; wanted ones also weigh and count.
var (
	Needed = []string{"memory", "pids"}
	Wanted = []string{"memory", "pids", "cpu", "io"}
)

// Controllers reads cgroup.controllers: what may be enabled below path.
func Controllers(path string) ([]string, error) {
	return ParseFile(path+"/cgroup.controllers", ParseWords)
}

// Enabled reads cgroup.subtree_control: what the children of path have.
func Enabled(path string) ([]string, error) {
	return ParseFile(path+"/cgroup.subtree_control", ParseWords)
}

// Hugetlb holds huge pages, which no memory limit counts.
const Hugetlb = "hugetlb"

// ForbidHugePages gives a group no huge page of any size, where the controller is there.
func (d *Dir) ForbidHugePages() error {
	files, err := filepath.Glob(d.Path + "/" + Hugetlb + ".*.max")
	if err != nil {
		return err
	}
	for _, path := range files {
		if file := filepath.Base(path); !strings.HasSuffix(file, ".rsvd.max") {
			if err := d.Set(Limit{file, "0", "0"}); err != nil {
				return err
			}
		}
	}
	return nil
}

// warnHugePages warns of those that runs may take beside their memory limits.
func (r *Root) warnHugePages(dir string) {
	held, _ := filepath.Glob(r.runs.Path + "/" + Hugetlb + ".*.max")
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
		n, err := ParseFile(file, ParseValue)
		return err == nil && n > 0
	})
}

func Missing(want, have []string) []string {
	return slices.DeleteFunc(slices.Clone(want), func(c string) bool { return slices.Contains(have, c) })
}

// Enable gives the children of path what we want of the available controllers,
// one write each so that one refusal doesn't take the others with it, and tells
// which it switched on. Only a needed one is an error: a run that asks for
// another one is refused when it comes.
func Enable(path string) ([]string, error) {
	have, err := Controllers(path)
	if err != nil {
		return nil, err
	}
	on, err := Enabled(path)
	if err != nil {
		return nil, err
	}
	var done []string
	for _, c := range Missing(append(slices.Clone(Wanted), Hugetlb), on) {
		if !slices.Contains(have, c) {
			continue
		}
		err := switchController(path, "+"+c)
		if err == nil {
			done = append(done, c)
			continue
		}
		if slices.Contains(Needed, c) {
			return done, errors.Join(explainEnable(path, err), Disable(path, done))
		}
	}
	return done, nil
}

// Disable takes controllers from the children of path again.
func Disable(path string, names []string) error {
	var errs []error
	for _, c := range names {
		errs = append(errs, switchController(path, "-"+c))
	}
	return errors.Join(errs...)
}

func switchController(path, word string) error {
	f, err := os.OpenFile(path+"/cgroup.subtree_control", os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(word)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("write %s/cgroup.subtree_control: %q: %w", path, word, UnwrapPath(err))
	}
	return nil
}

func explainEnable(path string, err error) error {
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	pids, perr := DirectProcs(path)
	if perr != nil {
		return errors.Join(err, perr)
	}
	return fmt.Errorf("%w: %w", err, ForeignProcs(path, pids))
}
