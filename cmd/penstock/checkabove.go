package main

import (
	"fmt"

	"penstock/cgroup"
	"penstock/config"
	"penstock/internal/bytesize"
)

// checkAbove tells what the limits above leave to all runs together: the budget of
// memory, and the tasks beside the daemon's own.
func checkAbove(c config.Config, memory, tasks *cgroup.Bound) []finding {
	var all []finding
	f := finding{Area: "limits", Name: "budget.memory", OK: true, Detail: bytesize.Human(c.Budget.Memory.Bytes)}
	if memory != nil {
		f.Detail = fmt.Sprintf("%s, below the limit of %s in %s", bytesize.Human(c.Budget.Memory.Bytes), bytesize.Human(memory.N), memory.From)
		if now := c.Budget.Under(memory.N, 0); now < c.Budget.Memory.Bytes {
			f.OK, f.Advice = false, true
			f.Detail = fmt.Sprintf("%s: the limit of %s in %s leaves %s beside the daemon, and that is what runs get",
				bytesize.Human(c.Budget.Memory.Bytes), bytesize.Human(memory.N), memory.From, bytesize.Human(now))
			f.Remedy = "lower budget.memory, or raise that limit"
		}
	}
	all = append(all, f)
	if tasks == nil {
		return all
	}
	f = finding{Area: "limits", Name: "tasks", OK: true, Detail: fmt.Sprintf("%d for all runs together: what %s leaves beside the daemon and others", tasks.N, tasks.From)}
	if most := c.Limits.PidsMax; tasks.N < most {
		f.OK, f.Advice = false, true
		f.Detail += fmt.Sprintf(", less than one run's pids_max of %d", most)
		f.Remedy = "raise that limit (TasksMax= of the unit, --pids-limit of the container, LimitNPROC=), or lower limits.pids_max"
	}
	return append(all, f)
}

// known is nil for a bound that there isn't.
func known(b cgroup.Bound, ok bool) *cgroup.Bound {
	if !ok {
		return nil
	}
	return &b
}
