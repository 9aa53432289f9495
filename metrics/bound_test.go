package metrics

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"penstock/outcome"
	"penstock/run"
)

// Whatever names come in, the number of series doesn't grow with them.
func TestLabelsAreBounded(t *testing.T) {
	m := watched(busy())
	strangers := func(from, to int) int {
		for i := from; i < to; i++ {
			name := fmt.Sprintf("stranger-%d", i)
			r := run.Record{ID: name, Backend: name, Client: name, Cause: outcome.Completed}
			m.RunStarted(r, time.Millisecond)
			m.FirstOutput(r, time.Millisecond)
			m.RunFinished(r, outcome.Outcome{Started: begun, Receipt: outcome.Receipt{CPUUserUsec: number(1)}})
			m.QueueWait(name, time.Second, name)
			m.Refused(name, "queue_full")
			m.HTTPRequest("unmatched", name, 405, time.Second, name)
		}
		text := exposition(t, m, "")
		if strings.Contains(text, "stranger") {
			t.Error("a name nobody configured is a label")
		}
		return strings.Count(text, "\n")
	}
	if few, many := strangers(0, 1), strangers(1, 200); few != many {
		t.Errorf("%d lines after one stranger, %d after 200", few, many)
	}
}

func TestNewClientsAreCountedApart(t *testing.T) {
	m := watched(busy())
	m.Refused("new", "queue_full")
	m.SetClients([]string{"new"})
	m.Refused("new", "queue_full")
	m.Refused("bot", "queue_full") // not a client any more
	want(t, exposition(t, m, ""), `penstock_admission_refused_total{client="new",reason="queue_full"} 1`,
		`penstock_admission_refused_total{client="other",reason="queue_full"} 2`,
		`penstock_runs_started_total{backend="idle",client="new"} 0`, `penstock_queue_waiting{client="new"} 0`)
}
