package outcome

import (
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"penstock/cgroup"
)

func num(n uint64) *uint64 { return &n }

// Parts the table is made of.
var (
	began     = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	exit0     = Exit{Known: true}
	exit1     = Exit{Known: true, Code: 1}
	sigkill   = Exit{Known: true, Code: -1, Signal: syscall.SIGKILL}
	sigterm   = Exit{Known: true, Code: -1, Signal: syscall.SIGTERM}
	sigsegv   = Exit{Known: true, Code: -1, Signal: syscall.SIGSEGV}
	unknown   = Exit{}
	done      = &Terminal{Done: true, Finish: "stop"}
	length    = &Terminal{Done: true, Finish: "length"}
	auth      = &Terminal{Failure: ProviderAuth, Message: "401 bad key"}
	rate      = &Terminal{Failure: ProviderRateLimit, Message: "429 slow down"}
	ownError  = &Terminal{Failure: CLIError, Message: "tool broke"}
	mute      = &Terminal{Failure: CLIError}
	invalid   = &Terminal{Failure: InvalidOutput, Message: "age: has to be an integer"}
	nothing   = &Terminal{}
	oom       = cgroup.Receipt{OOMEvents: num(1), OOMKills: num(3), OOMGroupKills: num(1), MemoryMaxBytes: num(512 << 20), MemoryPeakBytes: num(512 << 20)}
	hostOOM   = cgroup.Receipt{OOMEvents: num(0), OOMKills: num(2), MemoryMaxBytes: num(512 << 20), MemoryPeakBytes: num(300<<20 + 512<<10)}
	groupOOM  = cgroup.Receipt{OOMEvents: num(0), OOMKills: num(0), OOMGroupKills: num(1)}
	oomOnly   = cgroup.Receipt{OOMEvents: num(2), OOMKills: num(0), MemoryMaxBytes: num(32 << 20)}
	clean     = cgroup.Receipt{OOMEvents: num(0), OOMKills: num(0), PidsRefused: num(0)}
	stillborn = cgroup.Receipt{OOMKills: num(0), CPUUserUsec: num(0), CPUSystemUsec: num(60)}
	ran       = cgroup.Receipt{OOMKills: num(0), CPUUserUsec: num(400), CPUSystemUsec: num(300)}
	fullPeak  = cgroup.Receipt{OOMEvents: num(0), OOMKills: num(0), MemoryMaxBytes: num(1 << 30), MemoryPeakBytes: num(1 << 30)}
	watchMem  = cgroup.Receipt{Exceeded: "memory", MemoryPeakBytes: num(600 << 20), Estimated: []string{"memory"}}
	watchAll  = cgroup.Receipt{Exceeded: "budget", MemoryMaxBytes: num(2 << 30), MemoryPeakBytes: num(600 << 20), Estimated: []string{"memory"}}
	watchPid  = cgroup.Receipt{Exceeded: "pids", PidsPeak: num(70)}
	pids      = cgroup.Receipt{PidsRefused: num(4), PidsMax: num(64), PidsPeak: num(64)}
	budget    = cgroup.Receipt{OOMEvents: num(0), OOMKills: num(2), OOMAt: cgroup.OOMRuns, MemoryMaxBytes: num(512 << 20)}
	service   = cgroup.Receipt{OOMEvents: num(0), OOMKills: num(2), OOMAt: cgroup.OOMHost, MemoryMaxBytes: num(512 << 20)}
	pidsUp    = cgroup.Receipt{PidsRefused: num(4), PidsMax: num(64), PidsPeak: num(30)}
	thrashed  = cgroup.Receipt{MemoryPressureUsec: num(410_000), MemoryHighEvents: num(0), MemoryMaxEvents: num(733), MemoryMaxBytes: num(512 << 20), MemoryPeakBytes: num(512 << 20)}
	throttled = cgroup.Receipt{MemoryPressureUsec: num(900_000), MemoryHighEvents: num(51), MemoryMaxEvents: num(3)}
	shortUp   = cgroup.Receipt{MemoryPressureUsec: num(1_100_000), MemoryHighEvents: num(0), MemoryMaxEvents: num(0), MemoryPeakBytes: num(300 << 20)}
	pressed   = cgroup.Receipt{MemoryPressureUsec: num(200_000), MemoryMaxEvents: num(9000)}
	crowd     = cgroup.Receipt{PidsRefused: num(0), RunsPidsRefused: num(12), PidsMax: num(64), PidsPeak: num(5)}
	watchAllP = cgroup.Receipt{Exceeded: "tasks", PidsPeak: num(70)}
	noPSI     = cgroup.Receipt{MemoryHighEvents: num(40), MemoryMaxEvents: num(0)}
	noPSIIdle = cgroup.Receipt{MemoryHighEvents: num(2), MemoryMaxEvents: num(5)}
	both      = cgroup.Receipt{OOMKills: num(1), OOMEvents: num(1), PidsRefused: num(1)}
)

func TestDecide(t *testing.T) {
	memory, limitPids := int64(256<<20), int64(48)
	asked := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &memory}, Pids: &specs.LinuxPids{Limit: &limitPids}}
	tests := []struct {
		name     string
		reason   Cause
		exit     Exit
		receipt  cgroup.Receipt
		terminal *Terminal
		plain    bool
		unread   bool
		cut      string // Incomplete
		stops    bool   // ManagerStops
		limits   *specs.LinuxResources
		lived    time.Duration // 0 is one second
		stderr   string
		want     Cause
		says     []string // parts of the message
		not      string   // no part of it; "" is anything
	}{
		// Our own reason comes first, whatever else is there.
		{name: "deadline", reason: Timeout, exit: sigkill, want: Timeout, says: []string{"deadline", "1s", "timeout_ms"}},
		{name: "stall", reason: Stalled, exit: sigkill, want: Stalled, says: []string{"no output"}},
		{name: "output cap", reason: OutputLimit, exit: sigkill, want: OutputLimit, says: []string{"output_max"}},
		{name: "cancel", reason: Cancelled, exit: sigterm, want: Cancelled, says: []string{"cancelled"}},
		{name: "client gone", reason: ClientGone, exit: sigkill, want: ClientGone, says: []string{"client"}},
		{name: "shutdown", reason: ShuttingDown, exit: sigkill, want: ShuttingDown, says: []string{"shutting down", "try again"}},
		{name: "reason beats OOM", reason: Timeout, exit: sigkill, receipt: oom, want: Timeout},
		{name: "reason beats pids", reason: Cancelled, exit: exit1, receipt: pids, want: Cancelled},
		{name: "reason beats Done said in the grace period", reason: Timeout, exit: exit0, terminal: done, want: Timeout},
		{name: "reason beats the CLI's failure", reason: Cancelled, exit: exit1, terminal: auth, want: Cancelled},
		{name: "reason beats exit 0 of a plain program", reason: Timeout, exit: exit0, plain: true, want: Timeout},
		{name: "reason with an unknown exit (unkillable)", reason: Timeout, exit: unknown, want: Timeout},
		{name: "reason memory uses the figures", reason: MemoryLimit, exit: sigkill, receipt: watchMem, limits: asked, want: MemoryLimit, says: []string{"256 MiB", "600 MiB"}},
		{name: "reason pids uses the figures", reason: PidsLimit, exit: sigkill, limits: asked, want: PidsLimit, says: []string{"48"}},
		{name: "a reason without a text of its own", reason: Lost, exit: sigkill, want: Lost, says: []string{"lost"}},

		// Memory that took its life is told instead of more time.
		{name: "deadline of a run that thrashed", reason: Timeout, exit: sigkill, receipt: thrashed, want: Timeout,
			says: []string{"deadline", "waited for memory for 410ms of that (41 %)", "733 times at its memory limit of 512 MiB (peak 512 MiB)", "larger memory_max"}, not: "longer timeout"},
		{name: "deadline of a run that was throttled", reason: Timeout, exit: sigkill, receipt: throttled, want: Timeout,
			says: []string{"(90 %)", "slowed 51 times at its memory_high", "raise memory_high"}, not: "longer timeout"},
		{name: "deadline of a run that was throttled from above", reason: Timeout, exit: sigkill, receipt: shortUp, want: Timeout,
			says: []string{"(100 %)", "below its own limits (peak 300 MiB)", "MemoryHigh="}, not: "longer timeout"},
		{name: "deadline of a run that waited little for memory", reason: Timeout, exit: sigkill, receipt: pressed, want: Timeout, says: []string{"longer timeout_ms"}, not: "memory"},
		{name: "deadline, throttled, no PSI", reason: Timeout, exit: sigkill, receipt: noPSI, want: Timeout, says: []string{"held up for want of memory", "slowed 40 times"}, not: "longer timeout"},
		{name: "deadline, few events, no PSI", reason: Timeout, exit: sigkill, receipt: noPSIIdle, want: Timeout, says: []string{"longer timeout_ms"}, not: "memory"},
		{name: "stalled for want of memory", reason: Stalled, exit: sigkill, receipt: thrashed, want: Stalled, says: []string{"no output", "(41 %)", "larger memory_max"}},
		{name: "the client lost patience with a run that thrashed", reason: ClientGone, exit: sigkill, receipt: thrashed, want: ClientGone, says: []string{"client had gone", "(41 %)"}},
		{name: "the CLI gave up for want of memory", exit: exit1, receipt: thrashed, stderr: "timed out\n", want: CLIError, says: []string{"status 1", "timed out", "(41 %)", "larger memory_max"}},
		{name: "the CLI said it gave up", exit: exit1, receipt: thrashed, terminal: ownError, want: CLIError, says: []string{"tool broke", "(41 %)"}},
		{name: "done in spite of it", exit: exit0, receipt: thrashed, terminal: done, want: Completed, not: "memory"},

		// A success that may be half of one is none.
		{name: "a plain program's output may be cut", exit: exit0, plain: true, cut: "the disk was full", want: CLIError, says: []string{"may be missing", "the disk was full"}},
		{name: "an answer's output may be cut", exit: exit0, terminal: done, cut: "the disk was full", want: CLIError, says: []string{"may be missing"}},
		{name: "an answer that breaks its schema for want of the disk", exit: exit0, terminal: invalid, cut: "the disk was full", want: CLIError, says: []string{"the disk was full"}},
		{name: "a failure stays what it is", exit: exit1, terminal: auth, cut: "the disk was full", want: ProviderAuth, not: "disk"},
		{name: "our own reason stays what it is", reason: Timeout, exit: exit0, plain: true, cut: "the disk was full", stops: true, want: Timeout, not: "disk"},
		{name: "goodbye of a plain program whose scope is stopped", exit: exit0, plain: true, stops: true, want: ShuttingDown, says: []string{"service manager", "half"}},
		{name: "goodbye with a last word", exit: exit0, terminal: done, stops: true, want: ShuttingDown, says: []string{"try again later"}},
		{name: "killed by the stop of its scope", exit: sigterm, plain: true, stops: true, want: ShuttingDown},
		{name: "a failure while the scope is stopped", exit: exit1, plain: true, stops: true, want: CLIError},

		// The kernel's evidence about memory.
		{name: "OOM kill", exit: sigkill, receipt: oom, want: MemoryLimit, says: []string{"memory limit of 512 MiB reached (peak 512 MiB)", "memory_max"}},
		{name: "OOM kill beats Done", exit: sigkill, receipt: oom, terminal: done, want: MemoryLimit},
		{name: "OOM kill beats the CLI's failure", exit: exit1, receipt: oom, terminal: ownError, want: MemoryLimit},
		{name: "OOM kill of a grandchild, leader exits 0", exit: exit0, receipt: oom, want: MemoryLimit},
		{name: "OOM kill, plain program exits 0 (shell with a killed member)", exit: exit0, receipt: oom, plain: true, want: MemoryLimit},
		{name: "OOM at birth is no kernel whim", exit: sigkill, receipt: oom, lived: time.Millisecond, want: MemoryLimit},
		{name: "OOM kill without an own event: budget of all runs", exit: sigkill, receipt: hostOOM, want: MemoryLimit, says: []string{"below its own limit of 512 MiB (peak 300.5 MiB)", "all runs"}},
		{name: "OOM kill at the budget", exit: sigkill, receipt: budget, want: MemoryLimit, says: []string{"below its own limit of 512 MiB", "all runs together", "budget"}},
		{name: "OOM kill at the host", exit: sigkill, receipt: service, want: MemoryLimit, says: []string{"below its own limit of 512 MiB", "the host"}},
		{name: "group kill alone", exit: sigkill, receipt: groupOOM, want: MemoryLimit},
		{name: "OOM kill, exit unknown (adopted)", exit: unknown, receipt: oom, want: MemoryLimit},
		{name: "refused memory, then failure", exit: exit1, receipt: oomOnly, want: MemoryLimit, says: []string{"32 MiB"}},
		{name: "refused memory, then a signal", exit: sigsegv, receipt: oomOnly, want: MemoryLimit},
		{name: "refused memory, done and failed", exit: exit1, receipt: oomOnly, terminal: done, want: MemoryLimit},
		{name: "refused memory, survived and done", exit: exit0, receipt: oomOnly, terminal: done, want: Completed},
		{name: "peak at the limit is no evidence", exit: exit0, receipt: fullPeak, terminal: done, want: Completed},
		{name: "peak at the limit, outside kill", exit: sigkill, receipt: fullPeak, want: Killed},
		{name: "own watch on memory", exit: sigkill, receipt: watchMem, limits: asked, want: MemoryLimit, says: []string{"limit of 256 MiB", "peak 600 MiB", "watch"}},
		{name: "memory beats pids", exit: sigkill, receipt: both, want: MemoryLimit},

		// Pids.
		{name: "fork refused, CLI failed", exit: exit1, receipt: pids, want: PidsLimit, says: []string{"limit of 64", "peak 64", "4 starts", "pids_max"}},
		{name: "fork refused above the group", exit: exit1, receipt: pidsUp, want: PidsLimit, says: []string{"below its own pids limit of 64", "TasksMax", "peak 30", "4 starts"}},
		{name: "fork refused, CLI aborted", exit: Exit{Known: true, Code: -1, Signal: syscall.SIGABRT}, receipt: pids, want: PidsLimit},
		{name: "fork refused, CLI said it failed", exit: exit0, receipt: pids, terminal: ownError, want: PidsLimit, says: []string{"tool broke"}},
		{name: "fork refused, CLI done", exit: exit0, receipt: pids, terminal: done, want: Completed},
		{name: "fork refused, plain program exits 0", exit: exit0, receipt: pids, plain: true, want: Completed},
		{name: "fork refused, exit 0 without a last word", exit: exit0, receipt: pids, want: PidsLimit},
		{name: "own watch on the budget", exit: sigkill, receipt: watchAll, terminal: done, want: MemoryLimit, says: []string{"all runs together", "budget", "biggest (peak 600 MiB)"}},
		{name: "fork refused, end unseen", exit: Exit{Code: -1}, receipt: pids, want: Lost},
		{name: "fork refused, end unseen, plain program", exit: Exit{Code: -1}, receipt: pids, plain: true, want: Lost},
		{name: "own watch on pids", exit: sigkill, receipt: watchPid, limits: asked, terminal: done, want: PidsLimit, says: []string{"of 48", "peak 70"}},

		{name: "own watch on the tasks of all runs", exit: sigkill, receipt: watchAllP, limits: asked, terminal: done, want: PidsLimit, says: []string{"all runs together", "this had most (peak 70)", "fewer run"}},
		{name: "forks refused to all runs together", exit: exit1, receipt: crowd, stderr: "fork: retry\n", want: CLIError, says: []string{"status 1", "12 starts", "all runs together", "fork: retry"}},
		{name: "forks refused to all runs together, done", exit: exit0, receipt: crowd, terminal: done, want: Completed},

		// The CLI's own last word.
		{name: "done, exit 0", exit: exit0, receipt: clean, terminal: done, want: Completed, says: []string{"done"}},
		{name: "done at the length limit", exit: exit0, terminal: length, want: Completed, says: []string{"length"}},
		{name: "refused for safety", exit: exit1, terminal: &Terminal{Done: true, Finish: "content_filter"}, want: Completed, says: []string{"safety"}},
		{name: "done, then bad exit", exit: exit1, terminal: done, want: Completed},
		{name: "done, then killed by Finish", exit: sigkill, terminal: done, want: Completed},
		{name: "done, then killed from outside", exit: sigterm, terminal: done, want: Completed},
		{name: "done, exit unknown", exit: unknown, terminal: done, want: Completed},
		{name: "done within the first milliseconds, then killed", exit: sigkill, terminal: done, lived: time.Millisecond, want: Completed},
		{name: "provider auth, exit 0", exit: exit0, terminal: auth, want: ProviderAuth, says: []string{"401 bad key"}},
		{name: "provider rate limit, killed after", exit: sigkill, terminal: rate, want: ProviderRateLimit, says: []string{"429"}},
		{name: "own error", exit: exit1, terminal: ownError, stderr: "noise", want: CLIError, says: []string{"tool broke"}},
		{name: "own error without a message tells stderr", exit: exit1, terminal: mute, stderr: "why\n", want: CLIError, says: []string{"cli_error", "why"}},
		{name: "an answer that breaks its schema", exit: exit0, terminal: invalid, want: InvalidOutput, says: []string{"has to be an integer"}},
		{name: "an answer that breaks its schema, without a word", exit: exit0, terminal: &Terminal{Failure: InvalidOutput}, want: InvalidOutput, says: []string{"breaks the schema"}},
		{name: "an answer that breaks its schema, ended after", exit: sigkill, terminal: invalid, want: InvalidOutput},
		{name: "an image that the model doesn't take", exit: exit1, terminal: &Terminal{Failure: UnsupportedInput}, want: UnsupportedInput, says: []string{"image or a file"}},
		{name: "plain program, an answer that breaks its schema", exit: exit0, terminal: invalid, plain: true, want: InvalidOutput},
		{name: "plain program, an answer that breaks its schema, end unseen", exit: unknown, terminal: invalid, plain: true, want: InvalidOutput},
		{name: "plain program, an answer that is cut", exit: exit1, terminal: invalid, plain: true, stderr: "boom\n", want: CLIError, says: []string{"status 1", "boom"}},
		{name: "plain program, an answer that is cut by a kill", exit: sigkill, terminal: invalid, plain: true, want: Killed},
		{name: "failure of a plain backend's parser", exit: exit0, terminal: ownError, plain: true, want: CLIError},

		// Exit status.
		{name: "plain program exits 0", exit: exit0, plain: true, want: Completed},
		{name: "plain program, machine closed with Done, exit 0", exit: exit0, terminal: done, plain: true, want: Completed},
		{name: "plain program, machine closed with Done, exit 1", exit: exit1, terminal: done, plain: true, stderr: "boom\n", want: CLIError, says: []string{"status 1", "boom"}},
		{name: "plain program, machine closed with Done, killed", exit: sigkill, terminal: done, plain: true, want: Killed},
		{name: "exit 0 without a last word", exit: exit0, stderr: "y/N?\n", want: CLIError, says: []string{"without saying it was done", "y/N?"}},
		{name: "exit 0 with an empty last word", exit: exit0, terminal: nothing, want: CLIError},
		{name: "exit 1 tells stderr", exit: exit1, stderr: "a\nb\n\n", want: CLIError, says: []string{"status 1", "a | b"}},
		{name: "exit 1 without stderr", exit: exit1, want: CLIError, says: []string{"status 1"}},
		{name: "exit 137 is explained", exit: Exit{Known: true, Code: 137}, want: CLIError, says: []string{"137", "SIGKILL"}},
		{name: "exit 145 is not (gemini: HTTP status mod 256)", exit: Exit{Known: true, Code: 145}, want: CLIError, says: []string{"status 145"}},

		{name: "exit 0 of what nothing here understands", exit: exit0, unread: true, want: Lost, says: []string{"can't be read", "backend isn't configured"}},
		{name: "exit 0 of a plain program that nothing here understands", exit: exit0, unread: true, plain: true, want: Lost},
		{name: "exit 1 of what nothing here understands", exit: exit1, unread: true, want: CLIError, says: []string{"status 1"}},

		// Signals.
		{name: "killed from outside", exit: sigkill, receipt: clean, want: Killed, says: []string{"SIGKILL", "not by penstock"}},
		{name: "terminated from outside", exit: sigterm, want: Killed, says: []string{"SIGTERM"}},
		{name: "crash", exit: sigsegv, stderr: "core\n", want: Killed, says: []string{"crashed with SIGSEGV", "core"}},
		{name: "killed at birth", exit: sigkill, receipt: stillborn, lived: 200 * time.Microsecond, want: Killed, says: []string{"by the kernel at birth", "200µs"}},
		{name: "killed after it ran, noticed late", exit: sigkill, receipt: ran, lived: 90 * time.Microsecond, want: Killed, says: []string{"not by penstock"}},
		{name: "killed early, not counted", exit: sigkill, receipt: clean, lived: 90 * time.Microsecond, want: Killed, says: []string{"not by penstock"}},
		{name: "killed soon after birth", exit: sigkill, receipt: stillborn, lived: 2 * time.Millisecond, want: Killed, says: []string{"not by penstock"}},
		{name: "terminated at birth is a process's doing", exit: sigterm, lived: 2 * time.Millisecond, want: Killed, says: []string{"not by penstock"}},
		{name: "plain program killed", exit: sigkill, plain: true, want: Killed},

		// The end was not seen.
		{name: "unknown exit, no last word", exit: unknown, want: Lost, says: []string{"nobody watched"}},
		{name: "unknown exit of a plain program", exit: unknown, plain: true, want: Lost},
		{name: "unknown exit, own error", exit: unknown, terminal: ownError, want: CLIError},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lived := tt.lived
			if lived == 0 {
				lived = time.Second
			}
			got := Decide(Facts{
				Outcome:  Outcome{Exit: tt.exit, Reason: tt.reason, Receipt: tt.receipt, Started: began, Exited: began.Add(lived)},
				Terminal: tt.terminal, Stderr: tt.stderr, Limits: tt.limits, PlainExit: tt.plain, Unread: tt.unread, Incomplete: tt.cut, ManagerStops: tt.stops,
			})
			if got.Cause != tt.want {
				t.Fatalf("cause %q (%s), want %q", got.Cause, got.Message, tt.want)
			}
			if got.Message == "" || strings.ContainsAny(got.Message, "\n\r") {
				t.Errorf("message %q is not one line", got.Message)
			}
			for _, part := range tt.says {
				if !strings.Contains(got.Message, part) {
					t.Errorf("message %q lacks %q", got.Message, part)
				}
			}
			if tt.not != "" && strings.Contains(got.Message, tt.not) {
				t.Errorf("message %q says %q", got.Message, tt.not)
			}
			if tt.exit.Code == 145 && strings.Contains(got.Message, "shell") {
				t.Errorf("message %q takes a status for a signal", got.Message)
			}
		})
	}
}
