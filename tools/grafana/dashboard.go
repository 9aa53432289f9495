// Package grafana describes the dashboards that are shipped as JSON in
// metrics/grafana. The JSON is what an operator imports; it is written from here
// by `go -C tools test ./grafana -update`, and a test sees the two drift apart.
//
//	pages.go (one func a page) -> panel.go, field.go (how it looks), query.go (PromQL) -> dashboard.go, variables.go (the JSON)
package grafana

import "encoding/json"

// Dashboard is one page in Grafana's dashboard model, schema version 39
// (Grafana 10.4 and newer).
type Dashboard struct {
	UID           string     `json:"uid"` // stable: links and provisioning refer to it
	Title         string     `json:"title"`
	Description   string     `json:"description"`
	Tags          []string   `json:"tags"`
	SchemaVersion int        `json:"schemaVersion"`
	Editable      bool       `json:"editable"`
	GraphTooltip  int        `json:"graphTooltip"` // 1: one crosshair for all panels
	Refresh       string     `json:"refresh"`
	Timezone      string     `json:"timezone"`
	Time          TimeRange  `json:"time"`
	Links         []Link     `json:"links"`
	Templating    Templating `json:"templating"`
	Panels        []Panel    `json:"panels"`
}

// TimeRange is what a page shows when it is opened.
type TimeRange struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Link leads to the other pages, with the time and the variables chosen.
type Link struct {
	Type        string   `json:"type"`
	Title       string   `json:"title"`
	Tags        []string `json:"tags"`
	AsDropdown  bool     `json:"asDropdown"`
	KeepTime    bool     `json:"keepTime"`
	IncludeVars bool     `json:"includeVars"`
}

const tag = "penstock"

// All are the pages, by the name of their file.
func All() map[string]Dashboard {
	return map[string]Dashboard{
		"overview.json": overview(),
		"backend.json":  backend(),
		"ends.json":     ends(),
	}
}

// JSON is the file of a dashboard.
func (d Dashboard) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(d, "", "  ")
	return append(text, '\n'), err
}

// page lays its rows out and fills in what all pages share.
func page(uid, title, description string, variables []Variable, rows ...row) Dashboard {
	return Dashboard{
		UID: uid, Title: title, Description: description, Tags: []string{tag},
		SchemaVersion: 39, Editable: true, GraphTooltip: 1, Refresh: "30s", Timezone: "browser",
		Time:       TimeRange{From: "now-1h", To: "now"},
		Links:      []Link{{Type: "dashboards", Title: "Penstock", Tags: []string{tag}, KeepTime: true, IncludeVars: true}},
		Templating: Templating{List: variables},
		Panels:     layout(rows),
	}
}
