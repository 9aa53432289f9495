package health

import (
	"time"

	"penstock/server/web"
	"penstock/spawn"
)

// HealthReport is the body of GET /health; null is a figure this host doesn't tell.
type HealthReport struct {
	Status    string         `json:"status"`
	Busy      bool           `json:"busy"`
	Degraded  []string       `json:"degraded"`
	Version   string         `json:"version"`
	Uptime    float64        `json:"uptime_seconds"`
	Daemon    daemonReport   `json:"daemon"`
	Children  childrenReport `json:"children"`
	Queue     queueReport    `json:"queue"`
	Memory    memoryReport   `json:"memory"`
	Isolation isolation      `json:"isolation"`
	Backends  []BackendState `json:"backends"`
}

// isolation tells how many paths, not which: /health is open to all.
type isolation struct {
	spawn.Isolation
	Hidden    int `json:"hidden"`
	Reachable int `json:"reachable"`
}

type daemonReport struct {
	RSS        *uint64 `json:"rss_bytes"`
	FDs        *int    `json:"open_fds"`
	Threads    *int    `json:"threads"`
	Goroutines int     `json:"goroutines"`
}

type childrenReport struct {
	Runs      int     `json:"runs"`
	Processes int     `json:"processes"`
	Memory    *uint64 `json:"memory_bytes"`
	Oldest    float64 `json:"oldest_run_seconds"`
	Stalled   int     `json:"stalled"`
	// TasksMax is what all runs together may have.
	TasksMax *int64 `json:"tasks_max"`
}

type queueReport struct {
	Running int     `json:"running"`
	Max     int     `json:"max_runs"`
	Waiting int     `json:"waiting"`
	Oldest  float64 `json:"oldest_wait_seconds"`
}

type memoryReport struct {
	Budget    int64    `json:"budget_bytes"`
	Reserved  int64    `json:"reserved_bytes"`
	Used      *uint64  `json:"used_bytes"`
	Available *uint64  `json:"host_available_bytes"`
	SomeAvg10 *float64 `json:"pressure_some_avg10"`
	FullAvg10 *float64 `json:"pressure_full_avg10"`
}

func (f Facts) Report() HealthReport {
	some, full := f.Live.Pressure.MemorySomeAvg10, f.Live.Pressure.MemoryFullAvg10
	if some == nil { // no memory controller: the host's figures are the next best
		some, full = f.Proc.SomeAvg10, f.Proc.FullAvg10
	}
	var tasks *int64
	if b := f.Tasks; b != nil {
		tasks = &b.N
	}
	return HealthReport{
		Status: f.status(), Busy: f.Queue.Running > 0, Degraded: append(f.Degraded(), heldByFiles(f.Queue)...), Version: f.Version,
		Uptime:    web.Seconds(f.Now.Sub(f.Begun)),
		Daemon:    daemonReport{RSS: f.Proc.RSS, FDs: f.Proc.FDs, Threads: f.Proc.Threads, Goroutines: f.Proc.Goroutines},
		Children:  childrenReport{Runs: len(f.Live.Runs), Processes: f.Live.Processes, Memory: f.Live.Memory, Oldest: oldest(f), Stalled: f.Live.Stalled, TasksMax: tasks},
		Queue:     queueReport{Running: f.Queue.Running, Max: f.Queue.MaxRuns, Waiting: f.Queue.Waiting, Oldest: web.Seconds(f.Queue.OldestWait)},
		Memory:    memoryReport{Budget: f.Queue.Budget, Reserved: f.Queue.Reserved, Used: f.Live.Memory, Available: f.Proc.Available, SomeAvg10: some, FullAvg10: full},
		Isolation: isolation{f.Isolation, len(f.Isolation.Hidden), len(f.Isolation.Reachable)}, Backends: f.Backends,
	}
}

func oldest(f Facts) float64 {
	var age time.Duration
	for _, r := range f.Live.Runs {
		if !r.Started.IsZero() {
			age = max(age, f.Now.Sub(r.Started))
		}
	}
	return web.Seconds(age)
}
