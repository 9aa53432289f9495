package server

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gorilla/mux"

	"penstock/outcome"
	"penstock/run"
	"penstock/server/answer"
	"penstock/server/dialect"
	"penstock/server/web"
)

func (d *daemon) listRuns(w *web.Reply, r *http.Request) error {
	f, err := runFilter(r)
	if err != nil {
		return err
	}
	if x := web.InfoOf(r); !x.Operator {
		if f.Client != "" && f.Client != x.Client {
			return web.Errorf(web.ClientNotAllowed, "client %q: only your own runs are shown to you", web.Clip(f.Client, 60))
		}
		f.Client = x.Client
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
	list := map[string]any{"object": "list"}
	if f.State != stateQueued {
		complete := f.Unfinished || d.runs.Complete() // before the list is made
		records, whole := d.runs.TryList(f)
		if !complete || !whole {
			list["incomplete"] = true
		}
		live := d.live()
		var runs []shownRun
		for _, r := range records {
			runs = append(runs, show(r, live))
		}
		all = append(stillQueued(all, runs), runs...)
	}
	list["data"] = all[:min(len(all), f.Limit)]
	web.WriteJSON(w, http.StatusOK, list)
	return nil
}

// stillQueued are the requests of a queue that are no runs: one that is just being started
// is in both.
func stillQueued(queue, runs []shownRun) []shownRun {
	known := make(map[string]bool, len(runs))
	for _, r := range runs {
		known[r.ID] = true
	}
	return slices.DeleteFunc(queue, func(q shownRun) bool { return known[q.ID] })
}

func runFilter(r *http.Request) (run.Filter, error) {
	query := r.URL.Query()
	f := run.Filter{State: run.State(query.Get("state")), Client: query.Get("client"), Limit: listLimit}
	states := []run.State{"", stateLive, stateQueued, run.Waiting, run.Running, run.Ending, run.Finished}
	if !slices.Contains(states, f.State) {
		return f, web.BadRequest("state", "state must be one of live, queued, waiting, running, ending, finished")
	}
	if f.State == stateLive {
		f.State, f.Unfinished = "", true
	}
	if v := query.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > listLimitMax {
			return f, web.BadRequest("limit", "limit must be between 1 and %d", listLimitMax)
		}
		f.Limit = n
	}
	return f, nil
}

func (d *daemon) getRun(w *web.Reply, r *http.Request) error {
	id := mux.Vars(r)["id"]
	w.Header().Set("X-Run-Id", web.HeaderSafe(id))
	x := web.InfoOf(r)
	found, err := d.ownRun(x, id)
	if err == nil {
		web.WriteJSON(w, http.StatusOK, show(found.Record(), d.live()))
		return nil
	}
	if j, ok := d.jobs.get(id); ok && j.waits() && x.Owns(j.client) {
		web.WriteJSON(w, http.StatusOK, j.shown())
		return nil
	}
	return err
}

// runEvents replays a run; its reader's leaving ends nothing.
func (d *daemon) runEvents(w *web.Reply, r *http.Request) error {
	x, id := web.InfoOf(r), mux.Vars(r)["id"]
	after, err := web.LastEventID(r)
	if err != nil {
		return err
	}
	found, err := d.ownRun(x, id)
	if err != nil {
		return err
	}
	as, ok := surfaceOf(r.URL.Query().Get("as"))
	if !ok {
		return web.BadRequest("as", "as must be one of %s", strings.Join(surfaceNames(), ", "))
	}
	x.RunID = id
	w.Header().Set("X-Run-Id", id)
	a := answerOf(found, after)
	a.IncludeUsage = true
	if a.Echo, err = d.echo(r.Context(), found); err != nil {
		return err
	}
	return d.followRun(w, r, found, as, a, true)
}

// echo is what a run's answer says again of its request, read as storedAnswer reads it.
func (d *daemon) echo(ctx context.Context, found *run.Run) (json.RawMessage, error) {
	done, err := d.replies.AcquireDecoder(ctx, web.BodyMax)
	if err != nil {
		return nil, err
	}
	defer done()
	return d.conversations.Echo(found), nil
}

// answerOf is what is said of a run to a reader that has seen its frames up to after.
func answerOf(r *run.Run, after int64) *dialect.Answer {
	c := r.Record()
	return &dialect.Answer{Run: c.ID, Model: c.Model, Backend: c.Backend, Created: c.Created, Received: received(c), After: after}
}

// followRun is a run's stream in a dialect; its reader's leaving ends nothing. caughtUp has it
// say when all events so far are out.
func (d *daemon) followRun(w *web.Reply, r *http.Request, found *run.Run, as surface, a *dialect.Answer, caughtUp bool) error {
	x := web.InfoOf(r)
	s := answer.NewStream(w, as, a, true)
	s.AnnounceCaughtUp, s.BeforeEnd = caughtUp, d.jobs.tell
	if r.Method == http.MethodHead {
		return s.Open("run " + found.ID())
	}
	defer d.streaming(w)()
	w.WaitForReader()
	ctx := r.Context()
	if found.Record().Durable {
		var release func()
		ctx, release = d.readerContext(ctx)
		defer release()
	}
	if err := s.Follow(ctx, x, found, false); err != nil {
		if isHandedOver(ctx) {
			return s.Fail(x, reattachError(found.ID()))
		}
		x.Cause = "reader_gone"
		if !errors.Is(err, context.Canceled) {
			x.Err = err
		}
	}
	return nil
}

// cancelRun is idempotent: 202 while there is something to end, 200 after.
func (d *daemon) cancelRun(w *web.Reply, r *http.Request) error {
	x, id := web.InfoOf(r), mux.Vars(r)["id"]
	if j, ok := d.jobs.get(id); ok && j.waits() && x.Owns(j.client) {
		x.RunID = id
		w.Header().Set("X-Run-Id", id)
		if j.begun() {
			return notStarted(id, j.err)
		}
		j.cancel(errCancelled)
		web.WriteJSON(w, http.StatusAccepted, j.shown())
		return nil
	}
	found, err := d.ownRun(x, id)
	if err != nil {
		return err
	}
	x.RunID = id
	w.Header().Set("X-Run-Id", id)
	status := http.StatusAccepted
	if isClosed(found.Ended()) {
		status = http.StatusOK
	} else {
		found.End(outcome.Cancelled)
	}
	web.WriteJSON(w, status, show(found.Record(), d.live()))
	return nil
}

// ownRun finds a run whose text the caller may see; another's is answered as if it
// were not there.
func (d *daemon) ownRun(x *web.RequestInfo, id string) (*run.Run, error) {
	found, err := d.runs.Get(id)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, unreadable(err)
	}
	if err != nil || !x.Owns(found.Record().Client) {
		return nil, runNotFound(id)
	}
	return found, nil
}

func runNotFound(id string) *web.Error {
	return web.Errorf(web.RunNotFound, "no run %q", web.Clip(id, 128))
}

func (d *daemon) listSessions(w *web.Reply, r *http.Request) error {
	all := d.runs.Sessions(web.InfoOf(r).Client)
	if all == nil {
		all = []run.Session{}
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{"object": "list", "data": all})
	return nil
}

// forgetSession drops the caller's mapping; the CLI's own files stay the CLI's.
func (d *daemon) forgetSession(w *web.Reply, r *http.Request) error {
	id := mux.Vars(r)["id"]
	err := d.runs.Forget(web.InfoOf(r).Client, id)
	switch {
	case errors.Is(err, run.ErrNoSession):
		return web.Errorf(web.SessionNotFound, "no session %q", web.Clip(id, 128))
	case errors.Is(err, run.ErrSessionBusy):
		return web.Errorf(web.SessionBusy, "session %q has a run: end it first", web.Clip(id, 128))
	case err != nil:
		return web.Internal(err)
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{"id": id, "object": "session", "deleted": true})
	return nil
}
