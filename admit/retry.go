package admit

import (
	"cmp"
	"fmt"
	"time"
)

const (
	retryMin = time.Second
	retryMax = 5 * time.Minute
	// restartTime is about what a service manager needs to start the next daemon.
	restartTime = 5 * time.Second
	// newestWeight is the weight of the latest hold in the mean.
	newestWeight = 0.2
)

// holdTimes remembers how long slots are held.
type holdTimes struct {
	mean  time.Duration // exponential; 0 until the first slot came back
	known bool
	live  map[*Slot]time.Time
}

func (h *holdTimes) begin(s *Slot, now time.Time) { h.live[s] = now }

func (h *holdTimes) end(s *Slot, now time.Time, used bool) {
	lasted := now.Sub(h.live[s])
	delete(h.live, s)
	switch {
	case !used:
	case !h.known:
		h.mean, h.known = lasted, true
	default:
		h.mean += time.Duration(newestWeight * float64(lasted-h.mean))
	}
}

// typical is the mean; before there is one, the age of the oldest live slot.
func (h *holdTimes) typical(now time.Time) time.Duration {
	if h.known {
		return h.mean
	}
	var oldest time.Duration
	for _, since := range h.live {
		oldest = max(oldest, now.Sub(since))
	}
	return oldest
}

// retryAfter estimates when a client's next ask could start, in whole seconds.
// The caller holds the lock.
func (g *Gate) retryAfter(client string, now time.Time) time.Duration {
	typical := min(g.holdTimes.typical(now), retryMax)
	d := typical * time.Duration(g.queue.ahead(client)) / time.Duration(max(1, g.running))
	if g.capped(client) {
		// Only the client's own runs make room for it.
		own := g.queue.waiting(client) + 1
		d = max(d, typical*time.Duration(own)/time.Duration(g.options.Clients[client].MaxRuns))
	}
	d = (d + time.Second - 1).Truncate(time.Second)
	return min(max(d, retryMin), retryMax)
}

func (g *Gate) refuseShutdown() *Refused {
	return &Refused{Reason: ShuttingDown, RetryAfter: restartTime, Detail: "the daemon is shutting down"}
}

func (g *Gate) refuseTimeout(client string, now time.Time) *Refused {
	return &Refused{
		Reason: QueueTimeout, RetryAfter: g.retryAfter(client, now),
		Detail: "no slot became free in time: " + g.waitReason(client),
	}
}

// waitReason says what a client's next ask waits for. The caller holds the lock.
func (g *Gate) waitReason(client string) string {
	if g.capped(client) {
		return fmt.Sprintf("%s, as many as its max_runs allows", count(g.used[client].runs, "run of this client is live", "runs of this client are live"))
	}
	if g.paused != "" {
		return "starts are held back: " + g.paused
	}
	live := count(g.running, "run is live", "runs are live")
	if g.outside > 0 {
		live += fmt.Sprintf(", and %d MiB of the budget are held by files that finished runs left in memory file systems (%s): delete them", (g.outside+mib-1)/mib, cmp.Or(g.outsideAt, "/dev/shm, a tmpfs /tmp"))
	}
	return live
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
