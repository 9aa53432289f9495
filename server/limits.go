package server

import (
	"math"
	"slices"
	"time"

	"penstock/config"
	"penstock/internal/bytesize"
	"penstock/server/web"
	"penstock/spawn"
)

// requestLimits are a client's wishes; zero is none.
type requestLimits struct {
	MemoryMax int64 // bytes
	PidsMax   int64
	CPUMax    float64 // cores
}

func (q *chatRequest) limits(f fields) error {
	if !f.given("limits") {
		return nil
	}
	l, err := parseNested(f, "limits")
	if err != nil {
		return err
	}
	for key := range l {
		if !slices.Contains([]string{"memory_max", "pids_max", "cpu_max"}, key) {
			return web.BadRequest(join("limits", key), "limits has memory_max, pids_max and cpu_max, not %q", web.Clip(key, 40))
		}
	}
	var ok bool
	if l.given("memory_max") {
		if q.Limits.MemoryMax, ok = readSize(l["memory_max"]); !ok {
			return web.BadRequest("limits.memory_max", `limits.memory_max must be a size such as "512MiB" or a number of bytes`)
		}
	}
	if l.given("pids_max") {
		if err := l.into("pids_max", "limits", &q.Limits.PidsMax, "a whole number"); err != nil {
			return err
		}
		if q.Limits.PidsMax < 1 {
			return web.BadRequest("limits.pids_max", "limits.pids_max must be at least 1")
		}
	}
	if l.given("cpu_max") {
		if q.Limits.CPUMax, ok = readCPU(l["cpu_max"]); !ok {
			return web.BadRequest("limits.cpu_max", `limits.cpu_max must be such as "150%%" or a number of cores, and at least 1%%`)
		}
	}
	return nil
}

// lower applies a client's wishes to the operator's caps. A wish over the cap
// is refused, not clipped: who asks for more would otherwise be told of a
// memory limit he never set.
func (q requestLimits) lower(l config.Limits) (config.Limits, error) {
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
