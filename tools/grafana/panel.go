package grafana

import "strings"

// Panel is one picture or row of a page.
type Panel struct {
	ID              int          `json:"id"`
	Type            string       `json:"type"`
	Title           string       `json:"title"`
	Description     string       `json:"description,omitempty"`
	Datasource      *SourceRef   `json:"datasource,omitempty"`
	GridPos         GridPos      `json:"gridPos"`
	Targets         []Target     `json:"targets,omitempty"`
	FieldConfig     *FieldConfig `json:"fieldConfig,omitempty"`
	Options         any          `json:"options,omitempty"`
	Transformations []any        `json:"transformations,omitempty"`
	Collapsed       *bool        `json:"collapsed,omitempty"`
	Panels          []Panel      `json:"panels,omitempty"`
}

// GridPos is a place on a grid 24 wide.
type GridPos struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

// Target is one query.
type Target struct {
	RefID        string     `json:"refId"`
	Datasource   *SourceRef `json:"datasource"`
	Expr         string     `json:"expr"`
	LegendFormat string     `json:"legendFormat"`
	Range        bool       `json:"range"`
	Instant      bool       `json:"instant"`
	Format       string     `json:"format"`
	Exemplar     bool       `json:"exemplar"`
}

type row struct {
	title  string
	panels []Panel
}

// layout puts panels side by side until 24 columns are full, rows below each
// other, and numbers them.
func layout(rows []row) []Panel {
	var all []Panel
	y := 0
	for _, r := range rows {
		open := false
		all = append(all, Panel{ID: len(all) + 1, Type: "row", Title: r.title, Collapsed: &open, GridPos: GridPos{H: 1, W: 24, Y: y}})
		y++
		x, height := 0, 0
		for _, p := range r.panels {
			if x+p.GridPos.W > 24 {
				x, y, height = 0, y+height, 0
			}
			p.ID, p.GridPos.X, p.GridPos.Y = len(all)+1, x, y
			x, height = x+p.GridPos.W, max(height, p.GridPos.H)
			all = append(all, p)
		}
		y += height
	}
	return all
}

// query is an expression and the legend of its series. In the expression @
// stands for the choice of job and instance.
type query struct{ expr, legend string }

func (q query) target(i int) Target {
	return Target{
		RefID: string(rune('A' + i)), Datasource: chosenSource(),
		Expr: strings.ReplaceAll(q.expr, "@", `job=~"$job",instance=~"$instance"`), LegendFormat: q.legend,
	}
}

// graph is a time series w columns wide.
func graph(w int, title, description string, f field, queries ...query) Panel {
	p := panel("timeseries", w, 8, title, description, f, queries)
	for i := range p.Targets {
		p.Targets[i].Range, p.Targets[i].Format = true, "time_series"
		// Grafana marks the runs behind a quantile where the data source keeps exemplars.
		p.Targets[i].Exemplar = strings.Contains(p.Targets[i].Expr, "histogram_quantile")
	}
	p.Options = map[string]any{
		"legend":  map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": true},
		"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
	}
	return p
}

// number is one figure, or a few, as of now.
func number(w int, title, description string, f field, queries ...query) Panel {
	p := instant("stat", w, 4, title, description, f, queries)
	p.Options = map[string]any{
		"colorMode": f.colorMode(), "graphMode": "none", "textMode": f.textMode(), "justifyMode": "auto", "wideLayout": true,
		"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
	}
	return p
}

// shares is a ring of the parts of a whole.
func shares(w int, title, description string, f field, queries ...query) Panel {
	p := instant("piechart", w, 9, title, description, f, queries)
	p.Options = map[string]any{
		"pieType": "donut", "displayLabels": []string{},
		"legend":        map[string]any{"displayMode": "table", "placement": "right", "showLegend": true, "values": []string{"value", "percent"}},
		"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
	}
	return p
}

// matrix is a table of down by across, of one query with those two labels.
func matrix(w int, title, description string, f field, down, across string, q query) Panel {
	p := instant("table", w, 9, title, description, f, []query{q})
	p.Targets[0].Format = "table"
	p.Options = map[string]any{"cellHeight": "sm", "showHeader": true}
	p.Transformations = []any{map[string]any{"id": "groupingToMatrix", "options": map[string]any{
		"columnField": across, "rowField": down, "valueField": "Value", "emptyValue": "zero",
	}}}
	return p
}

func instant(kind string, w, h int, title, description string, f field, queries []query) Panel {
	p := panel(kind, w, h, title, description, f, queries)
	for i := range p.Targets {
		p.Targets[i].Instant, p.Targets[i].Format = true, "time_series"
	}
	return p
}

func panel(kind string, w, h int, title, description string, f field, queries []query) Panel {
	p := Panel{Type: kind, Title: title, Description: description, Datasource: chosenSource(), GridPos: GridPos{H: h, W: w}, FieldConfig: f.config(kind)}
	for i, q := range queries {
		p.Targets = append(p.Targets, q.target(i))
	}
	return p
}
