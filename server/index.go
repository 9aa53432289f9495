package server

import (
	"net/http"
	"strings"
)

// index lists the routes as a client reads them, without the router's patterns.
func (d *daemon) index(w *reply, r *http.Request) error {
	routes := d.routes()
	for i := range routes {
		routes[i].Path = strings.ReplaceAll(routes[i].Path, ":.+}", "}")
	}
	writeJSON(w, http.StatusOK, map[string]any{"name": "penstock", "version": d.version, "routes": routes})
	return nil
}

func (d *daemon) scrape(w *reply, r *http.Request) error {
	d.metrics.Handler().ServeHTTP(w, r)
	return nil
}
