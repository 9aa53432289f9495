package server

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/gorilla/mux"

	"penstock/outcome"
	"penstock/run"
	"penstock/server/answer"
	"penstock/server/conversation"
	"penstock/server/dialect"
	"penstock/server/openai"
	"penstock/server/web"
)

// findStored finds the stored answer that the path names; j is its job while its run has not
// begun, and one its run after that.
func (d *daemon) findStored(w *web.Reply, r *http.Request) (one conversation.Stored, j *job, err error) {
	x, id := web.InfoOf(r), mux.Vars(r)["id"]
	if key, ok := dialect.ParseID(conversation.Prefix, id); ok {
		run := d.keys.Run(key)
		if j, known := d.jobs.get(run); known && j.waits() && x.Owns(j.client) && !j.discard && j.echo != nil {
			x.RunID = j.id
			w.Header().Set("X-Run-Id", j.id)
			return one, j, nil
		}
	}
	if one, err = d.storedAnswer(r); err != nil {
		return one, nil, err
	}
	x.RunID = one.Run.ID()
	w.Header().Set("X-Run-Id", x.RunID)
	return one, nil, nil
}

// storedAnswer is the stored answer that the path names. What it was asked may be as large as a
// body: no more are read at once than of these, and the input isn't held.
func (d *daemon) storedAnswer(r *http.Request) (conversation.Stored, error) {
	done, err := d.replies.AcquireDecoder(r.Context(), web.BodyMax)
	if err != nil {
		return conversation.Stored{}, err
	}
	defer done()
	one, err := d.conversations.Answer(web.InfoOf(r), mux.Vars(r)["id"], "response_id")
	one.Asked.Input = nil
	return one, err
}

// getResponse is GET /v1/responses/{id}.
func (d *daemon) getResponse(w *web.Reply, r *http.Request) error {
	after, err := startingAfter(r)
	if err != nil {
		return err
	}
	one, j, err := d.findStored(w, r)
	if err != nil {
		return err
	}
	if r.URL.Query().Get("stream") == "true" {
		return d.followResponse(w, r, one, j, after)
	}
	if j != nil {
		web.WriteJSON(w, http.StatusOK, openai.ResponseState(j.answer(-1), openai.Queued, nil, dialect.End{}))
		return nil
	}
	return d.writeResponse(r.Context(), w, one.Run, answerStored(one, -1))
}

// answerStored is what is said of a stored answer to a reader that has seen its events up to after.
func answerStored(one conversation.Stored, after int64) *dialect.Answer {
	a := answerOf(one.Run, after)
	a.Echo = one.Asked.Echo
	return a
}

// writeResponse writes the response of a run as it is now.
func (d *daemon) writeResponse(ctx context.Context, w *web.Reply, r *run.Run, a *dialect.Answer) error {
	a.Created = r.Record().Created
	if !isClosed(r.Answered()) {
		web.WriteJSON(w, http.StatusOK, openai.ResponseState(a, openai.InProgress, nil, dialect.End{}))
		return nil
	}
	d.jobs.tell(r)
	steps, end, done, err := answer.Kept(ctx, r)
	if e := web.AsError(err); err != nil && e.Kind == web.KindRun {
		web.WriteJSON(w, http.StatusOK, openai.ResponseState(a, openai.Failed, e, answer.EndOf(r.Record())))
		return nil
	} else if err != nil {
		return err
	}
	defer done()
	w.Header().Set("Content-Type", "application/json")
	return (openai.Responses{}).Whole(a).Write(w, end, dialect.Contents{}, steps)
}

// followResponse is the stream of a response, from its start or after a number.
func (d *daemon) followResponse(w *web.Reply, r *http.Request, one conversation.Stored, j *job, after int64) error {
	s, _ := surfaceOf("responses")
	x, ctx := web.InfoOf(r), r.Context()
	if j != nil {
		ctx, release := d.readerContext(ctx)
		defer release()
		return d.respondStream(ctx, w, x, j, s, j.answer(after))
	}
	return d.followRun(w, r, one.Run, s, answerStored(one, after), false)
}

// startingAfter is the number that a stream goes on after; -1 is its start.
func startingAfter(r *http.Request) (int64, error) {
	text := r.URL.Query().Get("starting_after")
	if text == "" {
		return web.LastEventID(r)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, web.BadRequest("starting_after", "starting_after must be the sequence_number of an event")
	}
	return n, nil
}

// responseInput is GET /v1/responses/{id}/input_items.
func (d *daemon) responseInput(w *web.Reply, r *http.Request) error {
	_, j, err := d.findStored(w, r)
	if err != nil {
		return err
	}
	if j != nil {
		return web.Errorf(web.ResponseNotFound, "response %s waits for its start: its input can be listed from then on", web.Clip(mux.Vars(r)["id"], 80))
	}
	held := d.replies.NewLease() // until a slow client has read it
	defer held.Release()
	list, err := d.inputPage(r, held)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, list)
	return nil
}

func (d *daemon) inputPage(r *http.Request, held *web.BodyLease) (list openai.ItemList, err error) {
	done, err := d.replies.AcquireDecoder(r.Context(), web.BodyMax)
	if err != nil {
		return list, err
	}
	defer done()
	one, err := d.conversations.Answer(web.InfoOf(r), mux.Vars(r)["id"], "response_id")
	if err != nil {
		return list, err
	}
	if list, err = openai.InputPage(openai.ListInput(one.Asked.Input, one.Run.ID()), r.URL.Query()); err != nil {
		return list, err
	}
	for _, item := range list.Data {
		if err := held.Take(r.Context(), len(item)); err != nil {
			return list, err
		}
	}
	return list, nil
}

// cancelResponse ends a response's run and gives what it came to; it is idempotent.
func (d *daemon) cancelResponse(w *web.Reply, r *http.Request) error {
	one, j, err := d.findStored(w, r)
	if err != nil {
		return err
	}
	if j != nil {
		j.cancel(errCancelled)
		<-j.started // at once
		if j.isLeft() {
			return notStarted(j.id, j.err)
		}
		if j.err != nil {
			web.WriteJSON(w, http.StatusOK, openai.ResponseState(j.answer(-1), openai.Failed, notStarted(j.id, j.err), dialect.End{}))
			return nil
		}
		if one, err = d.storedAnswer(r); err != nil {
			return err
		}
	}
	select {
	case <-one.Run.Answered(): // its program saves its session, for the next turn
		return d.writeResponse(r.Context(), w, one.Run, answerStored(one, -1))
	default:
	}
	one.Run.End(outcome.Cancelled)
	select {
	case <-one.Run.Answered():
	case <-r.Context().Done():
		return web.ClientGone(r.Context().Err())
	}
	return d.writeResponse(r.Context(), w, one.Run, answerStored(one, -1))
}

// deleteResponse removes a response with its run; one that lives is to be cancelled first.
func (d *daemon) deleteResponse(w *web.Reply, r *http.Request) error {
	id := mux.Vars(r)["id"]
	one, j, err := d.findStored(w, r)
	if err != nil {
		return err
	}
	if j == nil {
		err = d.runs.Remove(one.Run.ID())
	}
	switch {
	case j != nil, errors.Is(err, run.ErrLive):
		return web.Errorf(web.ResponseBusy, "response %s is not over: cancel it first (POST /v1/responses/%s/cancel)", id, id)
	case err != nil:
		return web.Internal(err)
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{"id": id, "object": "response", "deleted": true})
	return nil
}
