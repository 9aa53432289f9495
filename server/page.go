package server

import (
	"net/http"

	"github.com/gorilla/mux"

	"penstock/server/ui"
	"penstock/server/web"
)

// page serves the live page and its files; the figures on it come from the
// other routes.
func (d *daemon) page(w *web.Reply, r *http.Request) error {
	name := mux.Vars(r)["file"]
	if name == "" {
		name = ui.Page
	}
	if !ui.Serve(w, r, name) {
		return noRoute(r.URL.Path, "GET / lists them")
	}
	return nil
}
