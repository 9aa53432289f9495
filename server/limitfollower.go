package server

import (
	"log/slog"
	"sync/atomic"

	"penstock/admit"
	"penstock/config"
	"penstock/internal/bytesize"
	"penstock/server/health"
	"penstock/spawn"
)

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

func newLimitFollower(d *daemon) *limitFollower {
	return &limitFollower{
		budget: d.config.Budget, least: d.config.Limits.PidsMax, log: d.log, gate: d.gate, spawner: d.spawner,
		memory: d.config.Budget.Memory.Bytes,
	}
}

// Follow reads the limits above and puts what changed into force. Not for
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
		c.log.Warn("limits above are not followed", "error", err)
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
