// Package outcome is what a run's end means: its cause, what the process tree used
// and how its leader ended, and the one function that decides. It is pure: no
// clock, no I/O.
//
//	spawn (kernel)  --> Outcome --+
//	backend (CLI)   --> Terminal -+--> Facts --> Decide --> Verdict{Cause, Message}
//	run (own view)  --> stderr ---+
//
//	outcome.go   the causes and the shapes above
//	decide.go    Decide: which of the facts counts
//	message.go   what the client is told: the sentence, its figures, its remedy
package outcome

import (
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"penstock/cgroup"
)

// Cause is why a run ended; the values are the `code` of the HTTP surface.
type Cause string

const (
	Completed   Cause = "completed"
	CLIError    Cause = "cli_error"
	MemoryLimit Cause = "memory_limit"
	PidsLimit   Cause = "pids_limit"
	Timeout     Cause = "timeout"
	Stalled     Cause = "stalled"
	OutputLimit Cause = "output_limit"
	Killed      Cause = "killed"
	Cancelled   Cause = "cancelled"
	Lost        Cause = "lost"
	ClientGone  Cause = "client_gone"
	CLIMissing  Cause = "cli_missing"
	// StartFailed is the host's or the daemon's fault, such as a limit that
	// could not be set: nothing ran.
	StartFailed  Cause = "start_failed"
	QueueFull    Cause = "queue_full"
	QueueTimeout Cause = "queue_timeout"
	OverBudget   Cause = "over_budget"
	ShuttingDown Cause = "shutting_down"
	// The provider's own refusals, told by the CLI; they refine cli_error.
	ProviderAuth      Cause = "provider_auth"
	ProviderRateLimit Cause = "provider_rate_limit"
	ProviderError     Cause = "provider_error"
	// InvalidOutput is an answer that breaks the schema that was asked for.
	InvalidOutput Cause = "invalid_output"
	// UnsupportedInput is an image or a file that the model, or its CLI, doesn't take.
	UnsupportedInput Cause = "unsupported_input"
)

// Receipt is what a run used; a nil field is unknown.
type Receipt = cgroup.Receipt

// Exit is how the leader ended.
type Exit struct {
	Code   int            // exit status; -1 when a signal ended it
	Signal syscall.Signal // 0 when it exited by itself
	Known  bool           // false when it could not be waited for (adopted, never started)
}

// Outcome is everything known when a process tree has ended.
type Outcome struct {
	Exit     Exit
	Reason   Cause // our own reason for ending it; "" when it ended by itself
	Receipt  cgroup.Receipt
	Survived int  // processes still in the group when the leader had gone
	Leaked   bool // the group could not be emptied in time; the janitor goes on
	Started  time.Time
	Exited   time.Time     // leader gone
	Spawn    time.Duration // mkdir .. exec
	Teardown time.Duration // kill .. rmdir
	Err      error         // what went wrong in the teardown, for the log
}

// Terminal is what the CLI itself said last, as its backend understood it.
type Terminal struct {
	Done    bool   // it said it was done
	Finish  string // "stop", "length" or "content_filter"
	Failure Cause  // cli_error, provider_*, invalid_output, unsupported_input; "" when none
	Message string
}

// Facts are all Decide looks at.
type Facts struct {
	Outcome  Outcome
	Terminal *Terminal // nil when the CLI said neither done nor failed
	Stderr   string    // last lines
	Limits   *specs.LinuxResources
	// PlainExit is a backend without a terminal event of its own: its exit
	// status is its last word, and 0 means done.
	PlainExit bool
	// Unread says that what the CLI wrote can't be understood here.
	Unread bool
	// Incomplete is why a part of what the CLI wrote may be missing; "" where nothing
	// speaks for that.
	Incomplete string
	// MemoryFiles is what spawn.MemoryFiles said at the end of a run that died of the memory
	// of all; "" where nothing lies there.
	MemoryFiles string
	// ManagerStops says that the service manager is ending all processes around the
	// daemon, the run's own among them, and may have asked these to leave.
	ManagerStops bool
}

// Verdict is the one answer to "why did it end".
type Verdict struct {
	Cause   Cause
	Message string // one sentence for the client: what, the figures, what to do
}
