package terminal

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"penstock/client"
)

// Row is one run as ps shows it; nil is unknown, or no limit.
type Row struct {
	ID, Client, Model, State, colour string
	Age                              time.Duration
	memory, pids, cpu                *float64 // cpu: processors now, of an ended run seconds in all
	memoryMax, pidsMax, cpuMax       *float64
	ended                            bool
	note                             string
}

// Rows puts what runs first, the oldest at the top, then what waits, then what
// has ended, the latest at the top.
func Rows(runs []client.Run, now time.Time) []Row {
	runs = slices.Clone(runs)
	slices.SortStableFunc(runs, func(a, b client.Run) int {
		if c := cmp.Compare(rank(a), rank(b)); c != 0 {
			return c
		}
		if a.State == client.Finished {
			return 0
		}
		return a.Created.Compare(b.Created)
	})
	rows := make([]Row, 0, len(runs))
	for _, r := range runs {
		rows = append(rows, rowOf(r, now))
	}
	return rows
}

func rank(r client.Run) int {
	switch r.State {
	case client.Queued, client.Waiting:
		return 1
	case client.Finished:
		return 2
	}
	return 0
}

func rowOf(r client.Run, now time.Time) Row {
	row := Row{ID: OneLine(r.ID), Client: OneLine(r.Client), Model: OneLine(r.Model)}
	memory, pids, cpu := capsOf(r)
	row.memoryMax, row.pidsMax, row.cpuMax = float(memory), float(pids), cpu
	row.State, row.colour = stateOf(r)
	since := r.Created
	if r.Started != nil {
		since = *r.Started
	}
	row.Age = now.Sub(since)
	if r.State == client.Finished {
		row.finish(r)
		return row
	}
	if u := r.Usage; u != nil {
		row.memory, row.pids, row.cpu = float(u.Memory), float(u.Pids), u.CPUCores
	}
	return row
}

// finish shows a run's peaks.
func (row *Row) finish(r client.Run) {
	row.ended = true
	row.Age, _ = r.Lifetime()
	if r.Cause != "completed" {
		row.note = OneLine(r.Message)
	}
	if r.Receipt == nil {
		return
	}
	row.memory, row.pids = float(r.Receipt.MemoryPeakBytes), float(r.Receipt.PidsPeak)
	if user, system := r.Receipt.CPUUserUsec, r.Receipt.CPUSystemUsec; user != nil && system != nil {
		cpu := float64(*user+*system) / 1e6
		row.cpu = &cpu
	}
}

func stateOf(r client.Run) (word, colour string) {
	switch r.State {
	case client.Queued:
		if r.Queue != nil && r.Queue.For == "session" {
			return "queued:session", Dim
		}
		if r.Queue != nil && r.Queue.Position > 0 {
			return fmt.Sprintf("queued#%d", r.Queue.Position), Dim
		}
		return "queued", Dim
	case client.Running:
		if r.Usage != nil && r.Usage.Stalled {
			return "stalled", Yellow
		}
		return "busy", Green
	case client.Finished:
		if r.Cause == "completed" {
			return "completed", ""
		}
		return OneLine(string(r.Cause)), Red
	}
	return string(r.State), Yellow
}

func float(n *uint64) *float64 {
	if n == nil {
		return nil
	}
	f := float64(*n)
	return &f
}

// CauseColour tells a run that completed from any other.
func CauseColour(r client.Run) string {
	if r.Cause == "completed" {
		return Green
	}
	return Red
}
