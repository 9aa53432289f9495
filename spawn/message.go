package spawn

import (
	"fmt"
	"strings"
	"syscall"
	"time"
	"unicode"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"penstock/cgroup"
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
		return " of " + bytesText(*r.MemoryMaxBytes)
	case l != nil && l.Memory != nil && l.Memory.Limit != nil && *l.Memory.Limit > 0:
		return " of " + bytesText(uint64(*l.Memory.Limit))
	}
	return ""
}

func memoryPeak(r cgroup.Receipt) string {
	if r.MemoryPeakBytes == nil {
		return ""
	}
	return fmt.Sprintf(" (peak %s)", bytesText(*r.MemoryPeakBytes))
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

// refusedAbove: until Linux 6.11 a fork is counted in the group that asked for it,
// whosever limit refused it. The own limit's leaves the peak at that limit.
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
	return withMemoryWait(withStderr(fmt.Sprintf("the CLI said it failed (%s) and gave no message", f.Terminal.Failure), f.Stderr), f)
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

// bytesText is n in the largest binary unit that leaves at least 1, with one
// decimal where it isn't whole.
func bytesText(n uint64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	unit, size := 0, uint64(1)
	for unit+1 < len(units) && n >= size<<10 {
		unit, size = unit+1, size<<10
	}
	if n%size == 0 {
		return fmt.Sprintf("%d %s", n/size, units[unit])
	}
	return fmt.Sprintf("%.1f %s", float64(n)/float64(size), units[unit])
}
