package server

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/gorilla/mux"

	"penstock/backend"
	"penstock/backend/kinds"
	"penstock/run/store"
	"penstock/server/web"
)

// modelInfo is what is told of a model beyond its API's own members.
type modelInfo struct {
	Ready bool `json:"ready"`
	// Version is the CLI's own word; Oldest is the oldest that is known to work.
	Version string `json:"version,omitempty"`
	Oldest  string `json:"oldest_version,omitempty"`
	TooOld  bool   `json:"too_old,omitempty"`
	// Image is what its runs are in.
	Image *store.Image `json:"image,omitempty"`
}

// model is OpenAI's model object with our additions.
type model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
	modelInfo
	Capabilities capabilities `json:"capabilities"`
}

// capabilities are what can be asked of a backend; docs/backends.md has them for each kind.
type capabilities struct {
	Dialects         []string `json:"dialects"`
	Images           bool     `json:"images"`
	Files            bool     `json:"files"`
	StructuredOutput string   `json:"structured_output"` // by the CLI itself, or held to the schema here
	Tools            bool     `json:"tools"`             // of the client
	Approvals        bool     `json:"approvals"`
	Sessions         bool     `json:"sessions"`
	Efforts          []string `json:"efforts"`
	Steering         bool     `json:"steering"`
	Warm             bool     `json:"warm"`
}

func (a *configuredBackend) capabilities() capabilities {
	f := a.backend.Features()
	c := capabilities{Dialects: surfaceNames(), Images: f.Images, Files: f.Files, StructuredOutput: "validated", Sessions: f.Resume, Efforts: []string{}}
	if f.JSONSchema {
		c.StructuredOutput = "native"
	}
	if f.Effort {
		c.Efforts = append(c.Efforts, f.Efforts...)
	}
	if f.Effort && f.Efforts == nil {
		c.Efforts = slices.DeleteFunc(slices.Clone(effortWords), func(word string) bool { return a.effort(word) != nil })
	}
	return c
}

func (d *daemon) model(id string, a *configuredBackend) model {
	m := model{
		ID: id, Object: "model", Created: d.begun.Unix(), OwnedBy: "penstock", Capabilities: a.capabilities(),
		modelInfo: modelInfo{Ready: a.config.Missing == "", Version: d.probes.Version(a.config.Name), Oldest: kinds.Oldest(a.config.Kind)},
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
	all := d.models()
	if shapeOf(r) == web.OpenAI {
		web.WriteJSON(w, http.StatusOK, map[string]any{"object": "list", "data": all})
		return nil
	}
	page, more, err := pageOf(all, r.URL.Query())
	if err != nil {
		return err
	}
	list := anthropicModels{Data: []anthropicModel{}, HasMore: more}
	for _, m := range page {
		list.Data = append(list.Data, m.anthropic())
	}
	if n := len(page); n > 0 {
		list.First, list.Last = &page[0].ID, &page[n-1].ID
	}
	web.WriteJSON(w, http.StatusOK, list)
	return nil
}

// getModel takes whatever a request would take as its model.
func (d *daemon) getModel(w *web.Reply, r *http.Request) error {
	id := mux.Vars(r)["id"]
	a, _, err := d.backends.resolve(id)
	if err != nil {
		return err
	}
	m := d.model(id, a)
	if shapeOf(r) == web.OpenAI {
		web.WriteJSON(w, http.StatusOK, m)
	} else {
		web.WriteJSON(w, http.StatusOK, m.anthropic())
	}
	return nil
}

// anthropicModels is Anthropic's list.
type anthropicModels struct {
	Data    []anthropicModel `json:"data"`
	HasMore bool             `json:"has_more"`
	First   *string          `json:"first_id"`
	Last    *string          `json:"last_id"`
}

// modelsMax is Anthropic's own bound of a page, and how many there are without one: what comes
// in one piece is not asked for twice.
const modelsMax = 1000

// pageOf is the part of a list that Anthropic's client asks for, and whether there is more in
// its direction.
func pageOf(all []model, query url.Values) (page []model, more bool, err error) {
	limit := modelsMax
	if v := query.Get("limit"); v != "" {
		if limit, err = strconv.Atoi(v); err != nil || limit < 1 || limit > modelsMax {
			return nil, false, web.BadRequest("limit", "limit must be between 1 and %d", modelsMax)
		}
	}
	find := func(param string) (i int, given bool, err error) {
		id := query.Get(param)
		if i = slices.IndexFunc(all, func(m model) bool { return m.ID == id }); i < 0 && id != "" {
			err = web.BadRequest(param, "%s: no model %q is listed", param, web.Clip(id, 100))
		}
		return i, id != "", err
	}
	after, isAfter, err := find("after_id")
	if err != nil {
		return nil, false, err
	}
	before, isBefore, err := find("before_id")
	switch {
	case err != nil:
		return nil, false, err
	case isAfter && isBefore:
		return nil, false, web.BadRequest("before_id", "before_id and after_id can't go together: send one")
	case isBefore:
		first := max(0, before-limit)
		return all[first:before], first > 0, nil
	case isAfter:
		all = all[after+1:]
	}
	return all[:min(limit, len(all))], len(all) > limit, nil
}

// anthropicModel is Anthropic's model object with our additions.
type anthropicModel struct {
	Type           string `json:"type"`
	ID             string `json:"id"`
	DisplayName    string `json:"display_name"`
	CreatedAt      string `json:"created_at"`
	MaxInputTokens *int64 `json:"max_input_tokens"` // unknown: the CLI's provider has its own
	MaxTokens      *int64 `json:"max_tokens"`
	modelInfo
	Capabilities anthropicCapabilities `json:"capabilities"`
}

// anthropicCapabilities are ours, and those that Anthropic's clients look for.
type anthropicCapabilities struct {
	capabilities
	Batch             supported      `json:"batch"`
	Citations         supported      `json:"citations"`
	CodeExecution     supported      `json:"code_execution"`
	ContextManagement supported      `json:"context_management"`
	Effort            map[string]any `json:"effort"`
	ImageInput        supported      `json:"image_input"`
	PDFInput          supported      `json:"pdf_input"`
	StructuredOutputs supported      `json:"structured_outputs"`
	Thinking          map[string]any `json:"thinking"`
}

type supported struct {
	Supported bool `json:"supported"`
}

func (m model) anthropic() anthropicModel {
	c := m.Capabilities
	effort := map[string]any{"supported": len(c.Efforts) > 0}
	for _, word := range []string{"low", "medium", "high", "xhigh", "max"} {
		effort[word] = supported{slices.Contains(c.Efforts, word)}
	}
	return anthropicModel{
		Type: "model", ID: m.ID, DisplayName: m.ID, CreatedAt: time.Unix(m.Created, 0).UTC().Format(time.RFC3339), modelInfo: m.modelInfo,
		Capabilities: anthropicCapabilities{
			capabilities: c, Effort: effort, ImageInput: supported{c.Images}, PDFInput: supported{c.Files}, StructuredOutputs: supported{true},
			// A client can't ask for it: a CLI thinks as its effort has it, and shows it or not.
			Thinking: map[string]any{"supported": false, "types": map[string]supported{"adaptive": {}, "enabled": {}}},
		},
	}
}
