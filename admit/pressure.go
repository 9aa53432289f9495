package admit

import "fmt"

// Below these starts are let in again, at the ones above they are held back:
// apart, so that one start more or less doesn't tip it each second.
const (
	pressureHold, pressureFree = 10, 5 // percent of time all tasks waited for memory, over 10 s
	headroomHold, headroomFree = 3, 5  // percent of the host's memory
	// crowded is how full the budget must be, in percent, for pressure to come
	// from having too many runs: one run alone at its own cap waits for memory,
	// too, and others need not wait for it.
	crowded = 80
)

// Pressure is what the kernel tells of memory; nil is what it doesn't tell.
type Pressure struct {
	Full      *float64 // memory.pressure of the runs' group: full avg10, in percent
	Used      *uint64  // bytes: memory.current of it
	Budget    int64    // bytes; 0 is none
	Available *int64   // bytes: MemAvailable of /proc/meminfo
	Total     *int64   // bytes: MemTotal
}

// PauseRule turns readings into the reason for Gate.Pause. Not safe for concurrent use.
type PauseRule struct {
	pressed, short bool
}

// Reason says why starts must be held back now, or "".
func (j *PauseRule) Reason(p Pressure) string {
	if p.Full != nil {
		j.pressed = *p.Full >= pressureHold && p.budgetFull() || j.pressed && *p.Full >= pressureFree
	}
	if p.Available != nil && p.Total != nil {
		share := 100 * float64(*p.Available) / float64(max(1, *p.Total))
		j.short = share < headroomHold || j.short && share < headroomFree
	}
	switch {
	case j.pressed:
		return fmt.Sprintf("all runs wait for memory %.0f %% of the time (memory.pressure full avg10)", value(p.Full))
	case j.short:
		return fmt.Sprintf("the host has %d MiB of memory left", int64(value(p.Available))/mib)
	}
	return ""
}

// budgetFull tells whether the runs together are what fills the budget.
func (p Pressure) budgetFull() bool {
	return p.Used == nil || p.Budget <= 0 || *p.Used >= uint64(p.Budget)/100*crowded
}

func value[N int64 | float64](n *N) float64 {
	if n == nil {
		return 0
	}
	return float64(*n)
}
