package server

import (
	"net/http"

	"github.com/gorilla/mux"

	"penstock/backend"
	"penstock/backend/kinds"
	"penstock/run/store"
	"penstock/server/web"
)

// model is OpenAI's model object and whether it would run.
type model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
	Ready   bool   `json:"ready"`
	// Version is the CLI's own word; Oldest is the oldest that is known to work.
	Version string `json:"version,omitempty"`
	Oldest  string `json:"oldest_version,omitempty"`
	TooOld  bool   `json:"too_old,omitempty"`
	// Image is what its runs are in.
	Image *store.Image `json:"image,omitempty"`
}

func (d *daemon) model(id string, a *configuredBackend) model {
	m := model{
		ID: id, Object: "model", Created: d.begun.Unix(), OwnedBy: "penstock", Ready: a.config.Missing == "",
		Version: d.probes.Version(a.config.Name), Oldest: kinds.Oldest(a.config.Kind),
	}
	m.TooOld = backend.Older(m.Version, m.Oldest)
	if a.image != nil {
		known, err := d.imageOf(a)
		m.Ready, m.Image = m.Ready && err == nil, &store.Image{Name: a.image.Name, Digest: known.Digest}
	}
	return m
}

func (d *daemon) models() []model {
	out := []model{}
	for _, name := range d.backends.names() {
		a := d.backends[name]
		one := d.model("", a)
		for _, known := range append([]string{name}, a.config.Aliases...) {
			one.ID = known
			out = append(out, one)
			for _, m := range a.config.Models {
				one.ID = known + "/" + m
				out = append(out, one)
			}
		}
	}
	return out
}

func (d *daemon) listModels(w *web.Reply, r *http.Request) error {
	web.WriteJSON(w, http.StatusOK, map[string]any{"object": "list", "data": d.models()})
	return nil
}

// getModel takes whatever a chat request would take as its model.
func (d *daemon) getModel(w *web.Reply, r *http.Request) error {
	id := mux.Vars(r)["id"]
	a, _, err := d.backends.resolve(id)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, d.model(id, a))
	return nil
}
