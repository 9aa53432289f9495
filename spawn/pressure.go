package spawn

import (
	"fmt"
	"time"
)

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
