package server

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"sync/atomic"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"penstock/admit"
	"penstock/config"
	"penstock/internal/bytesize"
	"penstock/server/dialect"
	"penstock/server/health"
	"penstock/server/web"
	"penstock/spawn"
)

// UnenforcedLimit is a limit of the configuration that nothing on a host can hold.
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

// checkEnforced refuses a start with caps that nothing on this host can hold.
func checkEnforced(c config.Config, held spawn.Enforced) error {
	var errs []error
	for _, u := range UnenforcedLimits(c, held) {
		errs = append(errs, u)
	}
	return errors.Join(errs...)
}

// lowerLimits applies a client's wishes to the operator's caps. A wish over the cap is
// refused, not clipped: the client would otherwise be told of a memory limit that it
// never set.
func lowerLimits(l config.Limits, q dialect.Limits) (config.Limits, error) {
	if q.MemoryMax > 0 {
		if q.MemoryMax < config.MemoryFloor {
			return l, web.BadRequest("limits.memory_max", "limits.memory_max of %s is below %s, with which no program can start", bytesize.Human(q.MemoryMax), bytesize.Human(config.MemoryFloor))
		}
		if most := l.MemoryMax.Bytes; most > 0 && q.MemoryMax > most {
			return l, web.BadRequest("limits.memory_max", "limits.memory_max of %s is over this backend's cap of %s", bytesize.Human(q.MemoryMax), bytesize.Human(most))
		}
		l.MemoryMax.Bytes = q.MemoryMax
		if l.MemoryHigh.Bytes >= q.MemoryMax {
			l.MemoryHigh.Bytes = 0
		}
	}
	if q.PidsMax > 0 {
		if l.PidsMax > 0 && q.PidsMax > l.PidsMax {
			return l, web.BadRequest("limits.pids_max", "limits.pids_max of %d is over this backend's cap of %d", q.PidsMax, l.PidsMax)
		}
		l.PidsMax = q.PidsMax
	}
	if q.CPUMax > 0 {
		if most := l.CPUMax.Cores; most > 0 && q.CPUMax > most {
			return l, web.BadRequest("limits.cpu_max", "limits.cpu_max of %g cores is over this backend's cap of %g", q.CPUMax, most)
		}
		l.CPUMax.Cores = q.CPUMax
	}
	return l, nil
}

const cpuPeriod = 100 * time.Millisecond // the kernel's default for cpu.max

// resources is the one place where the configuration's limits become those of a group.
func resources(l config.Limits) *specs.LinuxResources {
	c := spawn.Limits{
		MemoryMax: l.MemoryMax.Bytes, MemoryHigh: l.MemoryHigh.Bytes, SwapMax: l.SwapMax.Bytes, PidsMax: l.PidsMax, CPUWeight: l.CPUWeight,
	}
	if l.CPUMax.Cores > 0 {
		c.CPUPeriod = cpuPeriod
		c.CPUQuota = time.Duration(math.Round(l.CPUMax.Cores * float64(cpuPeriod)))
	}
	return spawn.Resources(c)
}

// limitFollower keeps what all runs together may have below the limits above, which
// operators change while the daemon runs.
type limitFollower struct {
	budget  config.Budget
	least   int64 // pids_max of a run, as configured
	log     *slog.Logger
	gate    *admit.Gate
	spawner *spawn.Spawner

	memory int64 // the budget in force, bytes
	failed bool
	tasks  atomic.Pointer[spawn.Bound] // nil is not limited
}

func newLimitFollower(c config.Config, log *slog.Logger, gate *admit.Gate, spawner *spawn.Spawner) *limitFollower {
	return &limitFollower{budget: c.Budget, least: c.Limits.PidsMax, log: log, gate: gate, spawner: spawner, memory: c.Budget.Memory.Bytes}
}

// follow reads the limits above and puts what changed into force. Not for
// concurrent use; host is the machine's memory in bytes, 0 is unknown.
func (c *limitFollower) follow(host int64) {
	above, err := c.spawner.Follow()
	c.noteTasks(above.Tasks)
	limit, from := int64(0), ""
	if above.Memory != nil {
		limit, from = above.Memory.N, above.Memory.From
	}
	if n := c.budget.Under(limit, host); n != c.memory && err == nil {
		if err = c.spawner.SetBudget(n); err == nil {
			c.gate.SetBudget(n)
			c.log.Info("the budget follows the limit above", "budget", bytesize.Human(n), "was", bytesize.Human(c.memory), "limit", bytesize.Human(limit), "from", from)
			c.memory = n
		}
	}
	if err != nil && !c.failed {
		c.log.Warn("limits above are not followed", "err", err)
	}
	c.failed = err != nil
}

// noteTasks takes note of how many tasks all runs together may have, and tells when
// that becomes less than one run's cap.
func (c *limitFollower) noteTasks(now *spawn.Bound) {
	was := c.tasks.Swap(now)
	if health.FewTasks(now, c.least) && !health.FewTasks(was, c.least) {
		c.log.Warn("runs together may have few tasks: a limit above leaves no more beside the daemon", "tasks", now.N, "from", now.From, "pids_max", c.least)
	}
}
