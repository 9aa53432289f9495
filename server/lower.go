package server

import (
	"math"
	"time"

	"penstock/config"
	"penstock/internal/bytesize"
	"penstock/server/openai"
	"penstock/server/web"
	"penstock/spawn"
)

// lowerLimits applies a client's wishes to the operator's caps. A wish over the cap is
// refused, not clipped: the client would otherwise be told of a memory limit that it
// never set.
func lowerLimits(l config.Limits, q openai.RequestLimits) (config.Limits, error) {
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

// caps is what the cage is built from.
func caps(l config.Limits) spawn.Limits {
	c := spawn.Limits{
		MemoryMax: l.MemoryMax.Bytes, MemoryHigh: l.MemoryHigh.Bytes, SwapMax: l.SwapMax.Bytes, PidsMax: l.PidsMax, CPUWeight: l.CPUWeight,
	}
	if l.CPUMax.Cores > 0 {
		c.CPUPeriod = cpuPeriod
		c.CPUQuota = time.Duration(math.Round(l.CPUMax.Cores * float64(cpuPeriod)))
	}
	return c
}
