package server

import (
	"cmp"
	"fmt"
	"time"

	"penstock/admit"
	"penstock/internal/bytesize"
	"penstock/server/web"
	"penstock/spawn"
)

// healthReport is the body of GET /health; null is a figure this host doesn't tell.
type healthReport struct {
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
	Backends  []backendState `json:"backends"`
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

func (d *daemon) report(f facts) healthReport {
	some, full := f.live.Pressure.MemorySomeAvg10, f.live.Pressure.MemoryFullAvg10
	if some == nil { // no memory controller: the host's figures are the next best
		some, full = f.proc.SomeAvg10, f.proc.FullAvg10
	}
	var tasks *int64
	if b := f.tasks; b != nil {
		tasks = &b.N
	}
	return healthReport{
		Status: f.status(), Busy: f.queue.Running > 0, Degraded: append(d.degraded(f), heldByFiles(f.queue)...), Version: d.version,
		Uptime:    web.Seconds(f.now.Sub(d.begun)),
		Daemon:    daemonReport{RSS: f.proc.RSS, FDs: f.proc.FDs, Threads: f.proc.Threads, Goroutines: f.proc.Goroutines},
		Children:  childrenReport{Runs: len(f.live.Runs), Processes: f.live.Processes, Memory: f.live.Memory, Oldest: oldest(f), Stalled: f.live.Stalled, TasksMax: tasks},
		Queue:     queueReport{Running: f.queue.Running, Max: f.queue.MaxRuns, Waiting: f.queue.Waiting, Oldest: web.Seconds(f.queue.OldestWait)},
		Memory:    memoryReport{Budget: f.queue.Budget, Reserved: f.queue.Reserved, Used: f.live.Memory, Available: f.proc.Available, SomeAvg10: some, FullAvg10: full},
		Isolation: isolation{f.isolation, len(f.isolation.Hidden), len(f.isolation.Reachable)}, Backends: f.backends,
	}
}

// heldByFiles tells of a good part of the budget that nobody's end will free.
func heldByFiles(q admit.Stats) []string {
	if q.Budget <= 0 || q.Outside < q.Budget/10 {
		return nil
	}
	return []string{"memory: " + filesLeftText(q)}
}

func filesLeftText(q admit.Stats) string {
	return fmt.Sprintf("%s of the budget of %s are files that finished runs left in memory file systems (%s): delete them",
		bytesize.Human(q.Outside), bytesize.Human(q.Budget), cmp.Or(q.OutsideAt, "/dev/shm, a /tmp that is a tmpfs"))
}

func oldest(f facts) float64 {
	var age time.Duration
	for _, r := range f.live.Runs {
		if !r.Started.IsZero() {
			age = max(age, f.now.Sub(r.Started))
		}
	}
	return web.Seconds(age)
}
