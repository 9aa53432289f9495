package server

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/gorilla/mux"

	"penstock/outcome"
	"penstock/run"
)

const (
	stateQueued  run.State = "queued" // no run yet: waits for its session, or its slot
	stateLive    run.State = "live"   // in a filter: all but finished
	listLimit              = 100
	listLimitMax           = 1000
)

func (d *daemon) listRuns(w *reply, r *http.Request) error {
	f, err := runFilter(r)
	if err != nil {
		return err
	}
	if x := infoOf(r); !x.operator {
		if f.Client != "" && f.Client != x.client {
			return refusal(http.StatusForbidden, "client_not_allowed", "client %q: only your own runs are shown to you", clip(f.Client, 60))
		}
		f.Client = x.client
	}
	all := []shownRun{}
	if f.State == "" || f.State == stateQueued {
		for _, j := range d.jobs.queued() {
			if f.Client == "" || f.Client == j.client {
				all = append(all, j.shown())
			}
		}
		slices.SortFunc(all, func(a, b shownRun) int { return b.Created.Compare(a.Created) })
	}
	if f.State != stateQueued {
		live := d.live()
		for _, r := range d.runs.List(f) {
			all = append(all, show(r, live))
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": all[:min(len(all), f.Limit)]})
	return nil
}

func runFilter(r *http.Request) (run.Filter, error) {
	query := r.URL.Query()
	f := run.Filter{State: run.State(query.Get("state")), Client: query.Get("client"), Limit: listLimit}
	states := []run.State{"", stateLive, stateQueued, run.Waiting, run.Running, run.Ending, run.Finished}
	if !slices.Contains(states, f.State) {
		return f, badRequest("state", "state must be one of live, queued, waiting, running, ending, finished")
	}
	if f.State == stateLive {
		f.State, f.Unfinished = "", true
	}
	if v := query.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > listLimitMax {
			return f, badRequest("limit", "limit must be between 1 and %d", listLimitMax)
		}
		f.Limit = n
	}
	return f, nil
}

func (d *daemon) getRun(w *reply, r *http.Request) error {
	id := mux.Vars(r)["id"]
	w.Header().Set("X-Run-Id", headerSafe(id))
	x := infoOf(r)
	if found, err := d.ownRun(x, id); err == nil {
		writeJSON(w, http.StatusOK, show(found.Record(), d.live()))
		return nil
	}
	if j, ok := d.jobs.get(id); ok && !j.begun() && x.owns(j.client) {
		writeJSON(w, http.StatusOK, j.shown())
		return nil
	}
	return runNotFound(id)
}

// runEvents replays a run; the reader is a guest: his leaving ends nothing.
func (d *daemon) runEvents(w *reply, r *http.Request) error {
	x, id := infoOf(r), mux.Vars(r)["id"]
	after, err := lastEventID(r)
	if err != nil {
		return err
	}
	found, err := d.ownRun(x, id)
	if err != nil {
		return err
	}
	x.runID = id
	w.Header().Set("X-Run-Id", id)
	s := &stream{sse: newSSE(w, true), includeUsage: true, after: after, announceCaughtUp: true}
	if r.Method == http.MethodHead {
		return s.open("run " + id)
	}
	defer d.streaming(w)()
	w.waitForReader()
	ctx := r.Context()
	if found.Record().Durable {
		var release func()
		ctx, release = d.readerContext(ctx)
		defer release()
	}
	if err := s.follow(ctx, x, found, false); err != nil {
		if isHandedOver(ctx) {
			return s.fail(x, reattachError(id))
		}
		x.cause = "reader_gone"
		if !errors.Is(err, context.Canceled) {
			x.err = err
		}
	}
	return nil
}

// cancelRun is idempotent: 202 while there is something to end, 200 after.
func (d *daemon) cancelRun(w *reply, r *http.Request) error {
	x, id := infoOf(r), mux.Vars(r)["id"]
	if j, ok := d.jobs.get(id); ok && !j.begun() && x.owns(j.client) {
		x.runID = id
		w.Header().Set("X-Run-Id", id)
		j.cancel(errCancelled)
		writeJSON(w, http.StatusAccepted, j.shown())
		return nil
	}
	found, err := d.ownRun(x, id)
	if err != nil {
		return err
	}
	x.runID = id
	w.Header().Set("X-Run-Id", id)
	status := http.StatusAccepted
	if isClosed(found.Ended()) {
		status = http.StatusOK
	} else {
		found.End(outcome.Cancelled)
	}
	writeJSON(w, status, show(found.Record(), d.live()))
	return nil
}

// ownRun finds a run whose text the caller may see. Another's is not there for
// him.
func (d *daemon) ownRun(x *requestInfo, id string) (*run.Run, error) {
	found, ok := d.runs.Get(id)
	if !ok || !x.owns(found.Record().Client) {
		return nil, runNotFound(id)
	}
	return found, nil
}

func (x *requestInfo) owns(client string) bool { return x.operator || x.client == client }

func runNotFound(id string) *httpError {
	return refusal(http.StatusNotFound, "run_not_found", "no run %q", clip(id, 128))
}

// headerSafe keeps a path's text out of the headers unless it is an id.
func headerSafe(id string) string {
	if idPattern.MatchString(id) {
		return id
	}
	return ""
}
