package server

import (
	"bytes"
	"net/http"
	"strings"
	"time"

	"penstock/server/openapi"
	"penstock/server/web"
)

// index lists the routes as a client reads them.
func (d *daemon) index(w *web.Reply, r *http.Request) error {
	routes := d.routes()
	for i := range routes {
		routes[i].Path = pathTemplate(routes[i].Path)
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{"name": "penstock", "version": d.version, "routes": routes})
	return nil
}

// pathTemplate is a path without the router's patterns.
func pathTemplate(path string) string { return strings.ReplaceAll(path, ":.+}", "}") }

func (d *daemon) document(w *web.Reply, r *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(openapi.Document()))
	return nil
}

func (d *daemon) scrape(w *web.Reply, r *http.Request) error {
	d.metrics.Handler().ServeHTTP(w, r)
	return nil
}
