// Package admit decides which run may start now: slots, the memory budget, one
// bounded queue per client, and turns between the clients by their weights. A
// slot is held until the run's group is gone.
//
//	Gate.Acquire (gate.go)
//	   │ enqueue ── refuse: draining, never fits, too late      room.go, retry.go
//	   ▼
//	queue: one line per client, the smallest pass goes first    queue.go
//	   │ dispatch, whenever anything changes                    gate.go
//	   │   ├─ fits: slots, budget, what is reserved             room.go
//	   │   │         └─ reservation: cap, or learned peaks      peaks.go
//	   │   └─ paused: memory pressure                           pressure.go
//	   ▼
//	wait ── granted, refused, timed out, or ctx                 wait.go
//	   ▼
//	Slot ── Release after the group has gone ── dispatch        slot.go
package admit

import "time"

// Options of a Gate; all fields but Budget (SetBudget) are in force for its whole life.
type Options struct {
	MaxRuns    int           // 0 is as the budget allows
	Budget     int64         // bytes of memory all running limits may sum to; 0 is unlimited
	MaxWaiting int           // per client
	MaxWait    time.Duration // in the queue
	// Clients are what the operator wrote of a client, by its name. One that is not
	// in it has weight 1, no cap of its own and nothing reserved.
	Clients map[string]Client
	// DefaultMemory is the usual cap of a run, in bytes: what is kept free for
	// each reserved run that isn't there, and what Stats.MaxRuns is computed
	// from. 0 is unknown.
	DefaultMemory int64
	// Overcommit reserves what a backend's runs have lately needed (Slot.Learn)
	// in place of their cap. The kernel's cap on all runs together is then what
	// holds the budget.
	Overcommit bool
}

// Client is one client's part.
type Client struct {
	MaxRuns  int // at once; 0 is no cap of its own
	Reserved int // slots, and memory for them, that no other client gets
	Weight   int // turns against other clients; 0 is 1
}

// Ask is one request for a slot.
type Ask struct {
	Client   string
	Backend  string    // whose peaks are learned
	Memory   int64     // bytes: the run's cap
	Deadline time.Time // of the whole request; zero is none
	// OnPosition is called with the position in the client's queue, from 1, each
	// time it changes; without locks held, may be nil.
	OnPosition func(position int)
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
	// Outside is what finished runs have left of the budget in memory file systems, in
	// bytes, AsideAt where; Filled is that it leaves too little for any run.
	Outside   int64
	OutsideAt string
	Exhausted bool
	Paused    string // why starts are held back (Gate.Pause); "" when they aren't
}
