package server

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"penstock/config"
	"penstock/spawn"
)

// UnenforcedLimit is a limit of the configuration that nobody on a host can hold.
type UnenforcedLimit struct {
	Key    string // as the file has it
	Cause  string
	Remedy string
}

func (u UnenforcedLimit) Error() string {
	return fmt.Sprintf("%s: %s (hint: %s)", u.Key, u.Cause, u.Remedy)
}

// neutralWeight is the kernel's default of cpu.weight: it asks for nothing.
const neutralWeight = 100

// enforcedByKernel is cgroup.Kernel.
const enforcedByKernel = "kernel"

// UnenforcedLimits are the limits of a configuration that a host which enforces so
// can't hold: Run refuses to start with any. Memory and pids are held by the
// kernel or by our own watch, always; throttling and shares only by the kernel.
func UnenforcedLimits(c config.Config, held spawn.Enforced) []UnenforcedLimit {
	var all []UnenforcedLimit
	for _, name := range slices.Sorted(maps.Keys(c.Backends)) {
		for _, u := range unenforcedOf(c.Limits, name, c.Backends[name].Limits, held) {
			if !slices.Contains(all, u) {
				all = append(all, u)
			}
		}
	}
	return all
}

// unenforcedOf judges one backend's limits. A value that is the default's was
// written there, and is to be mended there.
func unenforcedOf(defaults config.Limits, backend string, own config.Limits, held spawn.Enforced) []UnenforcedLimit {
	var out []UnenforcedLimit
	add := func(name, controller string, inherited bool) {
		key := "limits." + name
		if !inherited {
			key = "backends." + backend + "." + key
		}
		out = append(out, UnenforcedLimit{
			Key: key, Cause: "cgroup v2 has no " + controller + " controller here to hold it",
			Remedy: "take " + name + " out, or delegate the " + controller + " controller",
		})
	}
	if own.CPUMax.Cores > 0 && held.CPU == "" {
		add("cpu_max", "cpu", own.CPUMax == defaults.CPUMax)
	}
	if own.CPUWeight != neutralWeight && own.CPUWeight != 0 && held.CPU == "" {
		add("cpu_weight", "cpu", own.CPUWeight == defaults.CPUWeight)
	}
	if own.MemoryHigh.Bytes > 0 && held.Memory != enforcedByKernel {
		add("memory_high", "memory", own.MemoryHigh.Equal(defaults.MemoryHigh))
	}
	return out
}

// checkEnforced refuses a start with caps that nobody on this host can hold.
func checkEnforced(c config.Config, held spawn.Enforced) error {
	var errs []error
	for _, u := range UnenforcedLimits(c, held) {
		errs = append(errs, u)
	}
	return errors.Join(errs...)
}
