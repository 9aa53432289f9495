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
	needed = []string{"memory", "pids"}
	wanted = []string{"memory", "pids", "cpu", "io"}
)

// controllers reads cgroup.controllers: what may be enabled below path.
func controllers(path string) ([]string, error) {
	return parseFile(path+"/cgroup.controllers", parseWords)
}

// enabled reads cgroup.subtree_control: what the children of path have.
func enabled(path string) ([]string, error) {
	return parseFile(path+"/cgroup.subtree_control", parseWords)
}

// hugetlb holds huge pages, which no memory limit counts.
const hugetlb = "hugetlb"

// noHugePages gives a group no huge page of any size, where the controller is there.
func (d *dir) noHugePages() error {
	files, err := filepath.Glob(d.path + "/" + hugetlb + ".*.max")
	if err != nil {
		return err
	}
	for _, path := range files {
		if file := filepath.Base(path); !strings.HasSuffix(file, ".rsvd.max") {
			if err := d.set(limit{file, "0", "0"}); err != nil {
				return err
			}
		}
	}
	return nil
}

// tellHugePages warns of those that runs may take beside their memory limits.
func (r *Root) tellHugePages(dir string) {
	held, _ := filepath.Glob(r.runs.path + "/" + hugetlb + ".*.max")
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
		n, err := parseFile(file, parseValue)
		return err == nil && n > 0
	})
}

func missing(want, have []string) []string {
	return slices.DeleteFunc(slices.Clone(want), func(c string) bool { return slices.Contains(have, c) })
}

// enable gives the children of path what we want of the available controllers,
// one write each so that one refusal doesn't take the others with it, and tells
// which it switched on. Only a needed one is an error: a run that asks for
// another one is refused when it comes.
func enable(path string) ([]string, error) {
	have, err := controllers(path)
	if err != nil {
		return nil, err
	}
	on, err := enabled(path)
	if err != nil {
		return nil, err
	}
	var done []string
	for _, c := range missing(append(slices.Clone(wanted), hugetlb), on) {
		if !slices.Contains(have, c) {
			continue
		}
		err := switchController(path, "+"+c)
		if err == nil {
			done = append(done, c)
			continue
		}
		if slices.Contains(needed, c) {
			return done, errors.Join(explainEnable(path, err), disable(path, done))
		}
	}
	return done, nil
}

// disable takes controllers from the children of path again.
func disable(path string, names []string) error {
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
		return fmt.Errorf("write %s/cgroup.subtree_control: %q: %w", path, word, unwrapPath(err))
	}
	return nil
}

func explainEnable(path string, err error) error {
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	pids, perr := ownProcs(path)
	if perr != nil {
		return errors.Join(err, perr)
	}
	return fmt.Errorf("%w: %w", err, strangers(path, pids))
}
