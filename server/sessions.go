package server

import (
	"errors"
	"net/http"

	"github.com/gorilla/mux"

	"penstock/run"
	"penstock/server/web"
)

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
