package outcome

import (
	"fmt"
	"syscall"
	"time"
)

// startDeath is how soon after its start a SIGKILL is the kernel's own doing
// (cgroup.kill seen by the spawner's cgroup; no program gets far in that time).
const startDeath = time.Millisecond

// startCPU is less processor time than any program needs for its start, and more
// than a child that is killed before its first instruction.
const startCPU = 200 * time.Microsecond

// Decide is the one place that says why a run ended. It looks, in this order,
// at: our own reason for ending it; the kernel's evidence of a limit; the CLI's
// own last word; its exit status. A signal that nothing accounts for is a failure, and
// so is a success that may be half of one. It is pure: the same facts always
// give the same verdict.
func Decide(f Facts) Verdict {
	v := decide(f)
	switch {
	case f.ManagerStops && (v.Cause == Completed || v.Cause == Killed):
		return Verdict{ShuttingDown, "the service manager was ending the daemon and everything in its scope, the run's processes too (a logout, a reboot, a stop): what the CLI said may be half of its answer; try again later"}
	case f.Incomplete != "" && (v.Cause == Completed || v.Cause == InvalidOutput):
		return Verdict{CLIError, "the CLI ended well, and a part of its output may be missing: " + f.Incomplete + "; mend that and ask again"}
	}
	return v
}

func decide(f Facts) Verdict {
	for _, judge := range []func(Facts) (Verdict, bool){ownReason, memoryEvidence, pidsEvidence, lastWord} {
		if v, ok := judge(f); ok {
			return v
		}
	}
	return exitStatus(f)
}

// ownReason: what the daemon ended stays what the daemon said, whatever the CLI
// still got out during its grace period.
func ownReason(f Facts) (Verdict, bool) {
	why := f.Outcome.Reason
	if why == "" {
		return Verdict{}, false
	}
	return Verdict{why, reasonMessage(f)}, true
}

// memoryEvidence: a kill by the OOM killer (with memory.oom.group it takes the
// whole tree, so whatever was said before is not the whole answer), our own
// watch, or refused memory from which the leader then failed.
func memoryEvidence(f Facts) (Verdict, bool) {
	r := f.Outcome.Receipt
	switch {
	case r.Exceeded == "memory", r.Exceeded == "budget":
	case above0(r.OOMKills), above0(r.OOMGroupKills):
	case above0(r.OOMEvents) && failed(f.Outcome.Exit):
	default:
		return Verdict{}, false
	}
	return Verdict{MemoryLimit, memoryMessage(f)}, true
}

// pidsEvidence: a refused fork only matters when the CLI then failed, and an
// end that was not seen is no failure.
func pidsEvidence(f Facts) (Verdict, bool) {
	r := f.Outcome.Receipt
	watched := r.Exceeded == "pids" || r.Exceeded == "tasks"
	unseen := !f.Outcome.Exit.Known && f.Terminal == nil
	if !watched && (!above0(r.PidsRefused) || succeeded(f) || unseen) {
		return Verdict{}, false
	}
	return Verdict{PidsLimit, pidsMessage(f)}, true
}

// lastWord: a CLI that said it was done has answered, also when it was killed
// or exited badly afterwards. A backend whose exit status is its last word has
// only said something when that status agrees; after a bad one an answer that
// breaks its schema is merely cut.
func lastWord(f Facts) (Verdict, bool) {
	switch t := f.Terminal; {
	case t == nil, t.Failure == InvalidOutput && f.PlainExit && failed(f.Outcome.Exit):
		return Verdict{}, false
	case t.Failure != "":
		return Verdict{t.Failure, failureMessage(f)}, true
	case t.Done && !(f.PlainExit && failed(f.Outcome.Exit)):
		return Verdict{Completed, completedMessage(t.Finish)}, true
	}
	return Verdict{}, false
}

// exitStatus decides for a CLI that left no last word.
func exitStatus(f Facts) Verdict {
	e := f.Outcome.Exit
	switch {
	case !e.Known:
		return Verdict{Lost, "the run ended while nobody watched and left no last word: its outcome is unknown; check what it did before asking again"}
	case e.Signal != 0:
		return Verdict{Killed, signalMessage(f)}
	case e.Code != 0:
		return Verdict{CLIError, statusMessage(f)}
	case f.Unread:
		return Verdict{Lost, "the CLI exited with status 0, and what it said can't be read: its backend isn't configured any more (hint: configure it again for its later runs, and check what this one did)"}
	case f.PlainExit:
		return Verdict{Completed, completedMessage("")}
	}
	return Verdict{CLIError, withStderr("the CLI exited with status 0 without saying it was done", f.Stderr)}
}

// succeeded is what lastWord and exitStatus would call completed.
func succeeded(f Facts) bool {
	if v, ok := lastWord(f); ok {
		return v.Cause == Completed
	}
	e := f.Outcome.Exit
	return f.PlainExit && e.Known && !failed(e)
}

// failed is a leader known to have ended badly.
func failed(e Exit) bool { return e.Known && (e.Code != 0 || e.Signal != 0) }

// killedAtStart is a SIGKILL too early for any process to have sent it. A busy daemon takes
// note of a start late, so there must be proof that nothing ran: the processor
// time of the group.
func killedAtStart(o Outcome) (time.Duration, bool) {
	lived := o.Exited.Sub(o.Started)
	user, system := o.Receipt.CPUUserUsec, o.Receipt.CPUSystemUsec
	if o.Exit.Signal != syscall.SIGKILL || o.Exited.IsZero() || lived >= startDeath || user == nil || system == nil {
		return lived, false
	}
	return lived, time.Duration(*user+*system)*time.Microsecond < startCPU
}

func above0(n *uint64) bool { return n != nil && *n > 0 }

func signalMessage(f Facts) string {
	sig := f.Outcome.Exit.Signal
	if lived, ok := killedAtStart(f.Outcome); ok {
		return fmt.Sprintf("the CLI was killed by the kernel at birth, %s after its start, with no kill asked for and no memory shortage: the daemon's own cgroup may have seen cgroup.kill (restart the service)", lived.Round(10*time.Microsecond))
	}
	if crash(sig) {
		return withStderr(fmt.Sprintf("the CLI crashed with %s", signalName(sig)), f.Stderr)
	}
	return withStderr(fmt.Sprintf("the CLI was killed with %s, not by penstock and not for a limit: by itself or somebody else", signalName(sig)), f.Stderr)
}

// crash tells the signals a program brings on itself.
func crash(s syscall.Signal) bool {
	switch s {
	case syscall.SIGSEGV, syscall.SIGABRT, syscall.SIGBUS, syscall.SIGILL, syscall.SIGFPE, syscall.SIGTRAP, syscall.SIGSYS:
		return true
	}
	return false
}
