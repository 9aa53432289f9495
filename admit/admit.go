// Package admit decides who may start now: slots, the memory budget, and one
// bounded queue per client. A slot is held until the run's group is gone.
package admit

import (
	"time"
)

// Options of a Gate; all fields are in force for its whole life.
type Options struct {
	MaxRuns    int           // 0 is as the budget allows
	Budget     int64         // bytes of memory all running limits may sum to; 0 is unlimited
	MaxWaiting int           // per client
	MaxWait    time.Duration // in the queue
	// ClientRuns caps how many runs a client may have at once, by its name; who
	// is not in it, or has 0, has no cap of its own. Never changed after New.
	ClientRuns map[string]int
	// DefaultMemory is the usual cap of a run, in bytes; only Stats.MaxRuns is
	// computed from it. 0 is unknown.
	DefaultMemory int64
}

// Ask is one request for a slot.
type Ask struct {
	Client   string
	Memory   int64     // bytes: the run's cap
	Deadline time.Time // of the whole request; zero is none
	// Moved is told the place in the client's queue, from 1, each time it
	// changes; called without locks held, may be nil.
	Moved func(place int)
}

// Reason of a refusal; the values are the `code` of the HTTP surface.
type Reason string

const (
	QueueFull    Reason = "queue_full"
	QueueTimeout Reason = "queue_timeout"
	OverBudget   Reason = "over_budget"
	ShuttingDown Reason = "shutting_down"
)

// Refused is the error of Acquire when nothing will be started.
type Refused struct {
	Reason     Reason
	RetryAfter time.Duration // computed from how long slots are really held; 0 when retrying can't help
	Detail     string
}

// Error is the reason and its detail.
func (r *Refused) Error() string { return string(r.Reason) + ": " + r.Detail }

// Stats are read from memory under one short lock.
type Stats struct {
	Running    int
	MaxRuns    int // what the budget and max_runs allow for the default cap; 0 unknown
	Waiting    int
	OldestWait time.Duration
	Reserved   int64 // bytes
	Budget     int64
	WaitingBy  map[string]int // per client
}
