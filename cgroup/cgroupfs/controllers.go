package cgroupfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Needed are the controllers that hold the limits.
func Needed() []string { return []string{"memory", "pids"} }

// Wanted are those that also weigh and count.
func Wanted() []string { return []string{"memory", "pids", "cpu", "io"} }

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
			if err := d.Set(NumberLimit(file, 0)); err != nil {
				return err
			}
		}
	}
	return nil
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
	for _, c := range Missing(append(Wanted(), Hugetlb), on) {
		if !slices.Contains(have, c) {
			continue
		}
		err := switchController(path, "+"+c)
		if err == nil {
			done = append(done, c)
			continue
		}
		if slices.Contains(Needed(), c) {
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
	return fmt.Errorf("%w: %w", err, ForeignProcsError(path, pids))
}
