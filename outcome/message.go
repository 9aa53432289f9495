package outcome

import (
	"fmt"
	"strings"
	"syscall"
	"time"
	"unicode"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"penstock/cgroup"
	"penstock/internal/bytesize"
)

const (
	// stderrMax bounds the share of a message that is the CLI's stderr, in bytes.
	stderrMax = 1000
	// stderrLines is how many of its last lines are told.
	stderrLines = 5
)

func reasonMessage(f Facts) string {
	lived := ""
	if o := f.Outcome; !o.Started.IsZero() && o.Exited.After(o.Started) {
		lived = fmt.Sprintf(" after %s", o.Exited.Sub(o.Started).Round(time.Millisecond))
	}
	switch why := f.Outcome.Reason; why {
	case Timeout:
		text := fmt.Sprintf("the run was ended%s because its deadline had passed", lived)
		if _, _, slow := memoryWait(f); slow { // more time would go the same way
			return withMemoryWait(text, f)
		}
		return text + ": ask for a longer timeout_ms or for less work"
	case Stalled:
		return withMemoryWait(fmt.Sprintf("the run was ended%s because it had shown no output, no CPU time and no I/O for the stall timeout", lived), f)
	case OutputLimit:
		return fmt.Sprintf("the run was ended%s because its output passed the cap: raise output_max or line_max, or ask for less output", lived)
	case Cancelled:
		return withMemoryWait(fmt.Sprintf("the run was cancelled%s", lived), f)
	case ClientGone:
		return withMemoryWait(fmt.Sprintf("the run was ended%s because its client had gone", lived), f)
	case ShuttingDown:
		return fmt.Sprintf("the run was ended%s because the service is shutting down: try again later", lived)
	case Lost:
		return fmt.Sprintf("the run is lost%s: an earlier daemon was killed while it told the CLI its prompt, and how far that came can't be told; check what it did before asking again", lived)
	case MemoryLimit:
		return memoryMessage(f)
	case PidsLimit:
		return pidsMessage(f)
	default:
		return fmt.Sprintf("the run was ended%s by the service: %s", lived, why)
	}
}

func memoryMessage(f Facts) string {
	r := f.Outcome.Receipt
	figure := memoryFigure(r, f.Limits)
	switch {
	case r.Exceeded == "memory":
		return fmt.Sprintf("memory limit%s reached%s, as seen by the daemon's own watch: ask for a larger memory_max or for less work", figure, memoryPeak(r))
	case r.Exceeded == "budget":
		return fmt.Sprintf("all runs together passed the memory budget, as seen by the daemon's own watch, and this was the biggest%s: try again when fewer run, or ask for less work", memoryPeak(r))
	case r.OOMAt == cgroup.OOMRuns:
		text := fmt.Sprintf("killed for want of memory below its own limit%s%s: all runs together had reached the memory budget; try again when fewer run", figure, memoryPeak(r))
		if f.MemoryFiles != "" {
			text += ", and look for files that earlier runs left in memory (" + f.MemoryFiles + ")"
		}
		return text
	case r.OOMAt == cgroup.OOMHost:
		return fmt.Sprintf("killed for want of memory below its own limit%s%s: the host, or the service's own limit, had none left; try again later", figure, memoryPeak(r))
	case !above0(r.OOMEvents) && r.OOMEvents != nil:
		return fmt.Sprintf("killed for want of memory below its own limit%s%s: all runs together, or the host, had none left; try again when fewer run", figure, memoryPeak(r))
	}
	return fmt.Sprintf("memory limit%s reached%s: ask for a larger memory_max or for less work", figure, memoryPeak(r))
}

// memoryFigure is " of 512 MiB", from the limit that was in force, else the one asked for.
func memoryFigure(r cgroup.Receipt, l *specs.LinuxResources) string {
	switch {
	case r.MemoryMaxBytes != nil:
		return " of " + bytesize.Human(int64(*r.MemoryMaxBytes))
	case l != nil && l.Memory != nil && l.Memory.Limit != nil && *l.Memory.Limit > 0:
		return " of " + bytesize.Human(*l.Memory.Limit)
	}
	return ""
}

func memoryPeak(r cgroup.Receipt) string {
	if r.MemoryPeakBytes == nil {
		return ""
	}
	return fmt.Sprintf(" (peak %s)", bytesize.Human(int64(*r.MemoryPeakBytes)))
}

const tasksRemedy = ": try again when fewer run, or ask for less parallel work"

func pidsMessage(f Facts) string {
	r := f.Outcome.Receipt
	text := "pids limit" + pidsFigure(r, f.Limits) + " reached"
	remedy := ": ask for a larger pids_max or for less parallel work"
	switch {
	case r.Exceeded == "tasks":
		text = "all runs together passed the number of tasks they may have, as seen by the daemon's own watch, and this had most"
		remedy = tasksRemedy
	case refusedAbove(r):
		text = "a process could not be started below its own pids limit" + pidsFigure(r, f.Limits) + ": all runs together had as many tasks as they may, or the service (TasksMax=) or the host has a lower limit"
		remedy = tasksRemedy
	}
	if r.PidsPeak != nil {
		text += fmt.Sprintf(" (peak %d)", *r.PidsPeak)
	}
	if above0(r.PidsRefused) {
		text += fmt.Sprintf(", %d starts of a process or thread refused", *r.PidsRefused)
	}
	text += remedy
	if t := f.Terminal; t != nil && t.Message != "" {
		text += "; the CLI said: " + oneLine(t.Message)
	}
	return text
}

// RefusedStart is the verdict on a clone or execve that a limit of the run has
// refused with errno; not ok where it was no limit of its own.
func RefusedStart(errno syscall.Errno, r Receipt, l *specs.LinuxResources) (v Verdict, ok bool) {
	switch {
	case errno == syscall.EAGAIN && above0(r.PidsRefused) && !refusedAbove(r):
		return Verdict{PidsLimit, fmt.Sprintf("pids limit%s reached at the start: raise pids_max", pidsFigure(r, l))}, true
	case (errno == syscall.E2BIG || errno == syscall.ENOMEM) && (above0(r.OOMEvents) || above0(r.OOMKills)):
		return Verdict{MemoryLimit, fmt.Sprintf("memory limit%s too small to start: raise memory_max", memoryFigure(r, l))}, true
	}
	return Verdict{}, false
}

// refusedAbove: until Linux 6.11 a fork is counted in the group that asked for it,
// whichever limit refused it. The own limit's leaves the peak at that limit.
func refusedAbove(r cgroup.Receipt) bool {
	return above0(r.PidsRefused) && r.PidsPeak != nil && (r.PidsMax == nil || *r.PidsPeak < *r.PidsMax)
}

// pidsFigure is " of 256", from the limit that was in force, else the one asked for.
func pidsFigure(r cgroup.Receipt, l *specs.LinuxResources) string {
	switch {
	case r.PidsMax != nil:
		return fmt.Sprintf(" of %d", *r.PidsMax)
	case l != nil && l.Pids != nil && l.Pids.Limit != nil && *l.Pids.Limit > 0:
		return fmt.Sprintf(" of %d", *l.Pids.Limit)
	}
	return ""
}

func failureMessage(f Facts) string {
	if m := oneLine(f.Terminal.Message); m != "" {
		return withMemoryWait(m, f)
	}
	text := fmt.Sprintf("the CLI said it failed (%s) and gave no message", f.Terminal.Failure)
	switch f.Terminal.Failure {
	case InvalidOutput:
		text = "the answer breaks the schema that was asked for"
	case UnsupportedInput:
		text = "the model, or its CLI, doesn't take an image or a file of the request"
	}
	return withMemoryWait(withStderr(text, f.Stderr), f)
}

func completedMessage(finish string) string {
	switch finish {
	case "length":
		return "the CLI said it was done at its length limit"
	case "content_filter":
		return "the CLI said it was done: the model's provider refused for safety"
	}
	return "the CLI said it was done"
}

func statusMessage(f Facts) string {
	code := f.Outcome.Exit.Code
	text := fmt.Sprintf("the CLI exited with status %d", code)
	// Shells pass a child's death on as 128 + signal.
	switch sig := syscall.Signal(code - 128); {
	case sig == syscall.SIGKILL, sig == syscall.SIGTERM, crash(sig):
		text += fmt.Sprintf(" (a shell's way to say %s)", signalName(sig))
	}
	if n := f.Outcome.Receipt.RunsPidsRefused; above0(n) {
		text += fmt.Sprintf("; while it ran, %d starts of a process or thread were refused because all runs together had as many tasks as they may", *n)
	}
	return withMemoryWait(withStderr(text, f.Stderr), f)
}

// withStderr adds the last lines of stderr, where there are any.
func withStderr(text, stderr string) string {
	if tail := stderrTail(stderr); tail != "" {
		return text + "; last lines of stderr: " + tail
	}
	return text
}

// stderrTail joins the last non-empty lines into one printable piece.
func stderrTail(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		if line = oneLine(line); line != "" {
			lines = append(lines, line)
		}
	}
	if n := len(lines); n > stderrLines {
		lines = lines[n-stderrLines:]
	}
	tail := strings.Join(lines, " | ")
	if n := len(tail); n > stderrMax {
		tail = "..." + strings.ToValidUTF8(tail[n-stderrMax:], "")
	}
	return tail
}

// oneLine makes any text printable on one line.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return strings.Join(strings.Fields(s), " ")
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(s))
}

const (
	// waitShare is the part of its life, in percent, that a run must have waited
	// for memory before that is told as what took its time.
	waitShare = 25
	// reachedPerSecond is how often a run must have reached its memory limits where
	// the kernel tells no time (no PSI): reading files reaches memory.max, too.
	reachedPerSecond = 10
)

// memoryWait says how long a run waited for memory and what would help, in two
// parts of a sentence; not ok where it didn't for long, or where that isn't known.
func memoryWait(f Facts) (waited, remedy string, ok bool) {
	o, r := f.Outcome, f.Outcome.Receipt
	lived := o.Exited.Sub(o.Started)
	if o.Started.IsZero() || lived <= 0 {
		return "", "", false
	}
	if r.MemoryPressureUsec == nil {
		reached := uint64(lived.Seconds()*reachedPerSecond) + 1
		if !atLeast(r.MemoryHighEvents, reached) && !atLeast(r.MemoryMaxEvents, reached) {
			return "", "", false
		}
		waited = "it was held up for want of memory"
	} else {
		stalled := time.Duration(*r.MemoryPressureUsec) * time.Microsecond
		share := 100 * stalled.Seconds() / lived.Seconds()
		if share < waitShare {
			return "", "", false
		}
		waited = fmt.Sprintf("it waited for memory for %s of that (%.0f %%)", stalled.Round(time.Millisecond), min(share, 100))
	}
	switch {
	case above0(r.MemoryHighEvents):
		return fmt.Sprintf("%s, slowed %d times at its memory_high", waited, *r.MemoryHighEvents), "raise memory_high, or ask for less work", true
	case above0(r.MemoryMaxEvents):
		return fmt.Sprintf("%s, %d times at its memory limit%s%s", waited, *r.MemoryMaxEvents, memoryFigure(r, f.Limits), memoryPeak(r)),
			"ask for a larger memory_max or for less work", true
	}
	return waited + ", below its own limits" + memoryPeak(r) + ": all runs together, the service (MemoryHigh=) or the host had none left",
		"try again when fewer run", true
}

func atLeast(n *uint64, least uint64) bool { return n != nil && *n >= least }

// withMemoryWait adds what took the life of a run that ended badly.
func withMemoryWait(text string, f Facts) string {
	if waited, remedy, ok := memoryWait(f); ok {
		return text + "; " + waited + ": " + remedy
	}
	return text
}
