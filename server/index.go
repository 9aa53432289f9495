package server

import "net/http"

func (d *daemon) index(w *reply, r *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]any{"name": "penstock", "version": d.version, "routes": d.routes()})
	return nil
}

func (d *daemon) scrape(w *reply, r *http.Request) error {
	d.metrics.Handler().ServeHTTP(w, r)
	return nil
}
