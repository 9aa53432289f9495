package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// limitWays raise what the run may use.
func limitWays() map[string]func(*attempt) error {
	return map[string]func(*attempt) error{
		"raise its own limits": func(a *attempt) error { return a.raise(a.ownGroup()) },
		"raise the limits of all runs": func(a *attempt) error {
			return a.raise(filepath.Dir(a.Sibling))
		},
		"raise its limits by a fresh mount": private(func(a *attempt) error {
			dir, err := a.view()
			if err != nil {
				return err
			}
			return a.raise(dir + strings.TrimPrefix(a.ownGroup(), a.Mount))
		}),
	}
}

// ownGroup is the group this process is in, which its own cgroup namespace
// may not tell.
func (a *attempt) ownGroup() string {
	text, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(text)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if ok && path != "/" && !strings.HasPrefix(path, "/..") {
			return filepath.Join(a.Mount, path)
		}
	}
	runs := filepath.Dir(a.Sibling)
	entries, _ := os.ReadDir(runs)
	own := fmt.Appendf(nil, "%d\n", os.Getpid())
	for _, e := range entries {
		dir := filepath.Join(runs, e.Name())
		pids, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if bytes.Contains(append([]byte("\n"), pids...), append([]byte("\n"), own...)) {
			return dir
		}
	}
	return filepath.Join(runs, "own-group-not-seen")
}

// raise takes the limits away: memory, processes, processor time.
func (a *attempt) raise(dir string) error {
	var errs []error
	for _, file := range []string{"memory.max", "memory.swap.max", "pids.max"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte("max"), 0); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) < 3 {
		a.hold()
	}
	return errors.Join(errs...)
}

// ownLimits goes by a mount of the own cgroup namespace, whose top is the own group.
func ownLimits(a *attempt) error {
	dir, err := a.point()
	if err != nil {
		return err
	}
	if err := unix.Mount("none", dir, "cgroup2", 0, a.Options); err != nil {
		return fmt.Errorf("mount cgroup2: %w", err)
	}
	return a.raise(dir)
}
