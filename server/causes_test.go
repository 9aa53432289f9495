package server

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"penstock/run"
	"penstock/spawn"
)

// Nothing that fails after a start has a status that a stock client repeats.
func TestAfterStartIsNotRepeated(t *testing.T) {
	for name, e := range map[string]*httpError{
		"a killed run":                runFailed(spawn.Verdict{Cause: spawn.Killed, Message: "m"}, recordOf("run_1")),
		"a run ended by the drain":    runFailed(spawn.Verdict{Cause: spawn.ShuttingDown, Message: "m"}, recordOf("run_1")),
		"text taken back":             textVoided(recordOf("run_1")),
		"text taken back too often":   tornAnswer(recordOf("run_1")),
		"a fault of ours":             afterStart(errors.New("disk"), recordOf("run_1")),
		"an output that is not there": afterStart(unreadable(errors.New("gone")), recordOf("run_1")),
	} {
		rec := httptest.NewRecorder()
		writeError(rec, e)
		r, err := read(rec.Result(), nil)
		if err != nil || r.status != 400 || r.err == nil || r.err.Type != "run_error" || r.err.RunID != "run_1" || r.header.Get("X-Should-Retry") != "false" {
			t.Errorf("%s: %+v %v", name, r, err)
		}
	}
	if e := afterStart(unreadable(run.ErrNoReplay), recordOf("run_1")); e.Status != http.StatusGone {
		t.Errorf("an output that is not kept any more: %+v", e)
	}
}

// A panic of ours is a 500 only where no run can be alive.
func TestPanicAfterStart(t *testing.T) {
	for status, j := range map[int]*job{400: newJob("run_1", "c", false), 500: nil} {
		rec := httptest.NewRecorder()
		func() {
			x := &exchange{job: j, runID: "run_1"}
			defer recoverInto(x, newReply(rec))
			panic("x")
		}()
		if r, err := read(rec.Result(), nil); err != nil || r.status != status || r.code() != "internal_error" {
			t.Errorf("%+v %v, want %d", r, err, status)
		}
	}
}
