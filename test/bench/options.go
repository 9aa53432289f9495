package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// check refuses at once what would come out after minutes only: what can't be started, and a
// summary that can't be written. It names the variables of `make bench`.
func (o options) check() error {
	var errs []error
	for _, n := range []struct {
		name  string
		value int
	}{{"ROUNDS", o.rounds}, {"KEPT", o.kept}} {
		if n.value < 1 {
			errs = append(errs, fmt.Errorf("%s: %d: less than one", n.name, n.value))
		}
	}
	for _, p := range []struct{ name, path string }{
		{"PENSTOCK_BIN", o.penstock}, {"PENSTOCK_BEFORE", o.before}, {"GO_JUDGE", o.goJudge}, {"CLI_BRIDGE", o.bridge},
	} {
		if p.path == "" {
			continue
		}
		if _, err := exec.LookPath(p.path); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	if o.out != "" {
		f, err := os.OpenFile(o.out, os.O_CREATE|os.O_WRONLY, 0o644)
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("BENCH_OUT: %w", err))
		}
	}
	return errors.Join(errs...)
}

// chosenCLIs are those of CLIS, by default all that are installed.
func (o options) chosenCLIs(installed map[string][]string) ([]string, error) {
	all := slices.Sorted(maps.Keys(installed))
	if o.only == "" {
		return all, nil
	}
	chosen := strings.Split(o.only, ",")
	for _, name := range chosen {
		if _, ok := installed[name]; !ok {
			return nil, fmt.Errorf("CLIS: %q: not one of %s", name, strings.Join(all, " "))
		}
	}
	return chosen, nil
}
