package run

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"penstock/outcome"
)

// The machine as a table: from each phase, where to.
func TestPhase_LeadsTo(t *testing.T) {
	all := []phase{waiting, starting, running, ending, finished, detached}
	want := map[phase][]phase{
		waiting:  {starting, finished},
		starting: {running, finished},
		running:  {ending, starting, finished, detached},
		ending:   {starting, finished},
		finished: {}, detached: {},
	}
	for _, from := range all {
		for _, to := range all {
			allowed := false
			for _, p := range want[from] {
				allowed = allowed || p == to
			}
			r := newRun(from, Record{ID: "r", State: Waiting}, slog.New(slog.DiscardHandler))
			before := r.Record().State
			if ok := r.to(to); ok != allowed {
				t.Errorf("from %d to %d: %v", from, to, ok)
			}
			if !allowed && (r.phase != from || r.Record().State != before) {
				t.Errorf("from %d to %d: refused, and it changed to %d, %s", from, to, r.phase, r.Record().State)
			}
			if isClosed(r.detached) != (allowed && to == detached) {
				t.Errorf("from %d to %d: detached closed: %v", from, to, isClosed(r.detached))
			}
		}
	}
}

// Whatever comes in whatever order, a run ends once, its channels close in their
// order, and what is final stays.
func TestRun_ChannelsCloseInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRun(waiting, Record{ID: "r", State: Waiting, Durable: true}, slog.New(slog.DiscardHandler))
		var final *Record
		locked := func(next phase) func() {
			return func() {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.to(next)
			}
		}
		steps := map[string]func(){
			"begin": r.begin, "begin anew": r.beginAnew, "kill": r.Kill,
			"end":     func() { r.End(outcome.Cancelled) },
			"end too": func() { r.End(outcome.Timeout) },
			"running": locked(running), "ending": locked(ending), "detached": locked(detached),
			"abort": func() {
				if r.phase == waiting || r.phase == starting && !r.record.SessionRestarted {
					r.abort(errors.New("no"))
				}
			},
			"conclude": func() {
				if r.phase == running || r.phase == ending || r.phase == starting && r.record.SessionRestarted {
					r.conclude(outcome.Outcome{}, outcome.Verdict{Cause: outcome.Completed}, nil)
				}
			},
			"announce": func() {
				if r.phase == finished && !isClosed(r.ended) {
					r.announce()
				}
			},
			"let go": func() {
				if (isClosed(r.ended) || r.phase == detached) && !isClosed(r.done) {
					r.letGo()
				}
			},
		}
		var names []string
		for name := range steps {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range rapid.SliceOfN(rapid.SampledFrom(names), 0, 30).Draw(t, "steps") {
			why := r.reason()
			steps[name]()
			record := r.Record()
			switch {
			case why != "" && r.reason() != why:
				t.Fatalf("%s: the first reason was %s, now it is %s", name, why, r.reason())
			case isClosed(r.stop) != (r.reason() != ""):
				t.Fatalf("%s: stop closed: %v, reason %q", name, isClosed(r.stop), r.reason())
			case isClosed(r.ended) && r.phase != finished:
				t.Fatalf("%s: ended in phase %d", name, r.phase)
			case isClosed(r.ended) && isClosed(r.detached):
				t.Fatalf("%s: both ended and detached", name)
			case isClosed(r.done) && !isClosed(r.ended) && !isClosed(r.detached):
				t.Fatalf("%s: let go, and neither ended nor detached", name)
			case (record.State == Finished) != (r.phase == finished):
				t.Fatalf("%s: shown as %s in phase %d", name, record.State, r.phase)
			case final != nil && fmt.Sprint(*final) != fmt.Sprint(record):
				t.Fatalf("%s: a final record changed from %+v to %+v", name, *final, record)
			}
			if r.phase == finished && final == nil {
				final = &record
			}
		}
	})
}

// What the API shows of each phase.
func TestRun_Shown(t *testing.T) {
	for _, row := range []struct {
		phase phase
		anew  bool
		why   outcome.Cause
		want  State
	}{
		{waiting, false, "", Waiting},
		{waiting, false, outcome.Cancelled, Waiting},
		{starting, false, "", Waiting},
		{starting, false, outcome.Cancelled, Waiting},
		{starting, true, "", Running},
		{starting, true, outcome.Cancelled, Ending},
		{running, false, "", Running},
		{ending, false, "", Ending},
		{ending, true, outcome.Cancelled, Ending},
		{finished, false, "", Finished},
		{detached, false, "", Running},
	} {
		r := newRun(row.phase, Record{SessionRestarted: row.anew}, slog.New(slog.DiscardHandler))
		r.why = row.why
		if got := r.shown(); got != row.want {
			t.Errorf("%+v: %s", row, got)
		}
	}
}

// What waits for a run's end is called once, whichever comes first.
func TestRun_OnOver(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(*Run)
	}{
		{"ended", func(r *Run) { r.abort(errors.New("not started")) }},
		{"left", func(r *Run) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.phase = running
			r.to(detached)
		}},
	} {
		t.Run(row.name+" already", func(t *testing.T) {
			r, called := newRun(waiting, Record{ID: "r", State: Waiting}, slog.New(slog.DiscardHandler)), 0
			row.end(r)
			r.OnOver(func() { called++ })
			if called != 1 {
				t.Errorf("called %d times", called)
			}
		})
	}
	t.Run("ends then", func(t *testing.T) {
		r, called := newRun(waiting, Record{ID: "r", State: Waiting}, slog.New(slog.DiscardHandler)), 0
		r.OnOver(func() {
			called++
			if !isClosed(r.Ended()) {
				t.Error("called before the end is seen")
			}
		})
		if called != 0 {
			t.Error("called before the end")
		}
		r.abort(errors.New("not started"))
		if called != 1 {
			t.Errorf("called %d times", called)
		}
	})
}
