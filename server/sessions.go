package server

import (
	"errors"
	"net/http"

	"github.com/gorilla/mux"

	"penstock/run"
)

func (d *daemon) listSessions(w *reply, r *http.Request) error {
	all := d.runs.Sessions(infoOf(r).client)
	if all == nil {
		all = []run.Session{}
	}
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": all})
	return nil
}

// forgetSession drops the caller's mapping; the CLI's own files stay the CLI's.
func (d *daemon) forgetSession(w *reply, r *http.Request) error {
	id := mux.Vars(r)["id"]
	err := d.runs.Forget(infoOf(r).client, id)
	switch {
	case errors.Is(err, run.ErrNoSession):
		return refusal(http.StatusNotFound, "session_not_found", "no session %q", clip(id, 128))
	case errors.Is(err, run.ErrSessionBusy):
		no := false
		e := refusal(http.StatusConflict, "session_busy", "session %q has a run: end it first", clip(id, 128))
		e.Retry = &no
		return e
	case err != nil:
		return internal(err)
	}
	writeJSON(w, http.StatusOK, map[string]any{"id": id, "object": "session", "deleted": true})
	return nil
}
