package grafana

// FieldConfig says how values look.
type FieldConfig struct {
	Defaults  map[string]any `json:"defaults"`
	Overrides []any          `json:"overrides"`
}

// field is how the values of a panel look: their unit (Grafana's name of it),
// where they turn yellow and red, and how they are drawn.
type field struct {
	unit     string
	warn     *float64          // yellow from here
	bad      *float64          // red from here
	max      *float64          // of the axis
	decimals *int              // of the figure; nil lets Grafana choose
	words    map[string]string // shown for a value
	stacked  bool
	bars     bool
	byName   bool // the figure is the series' name, not its value
	logAxis  bool
	dashed   []string // series that are a bound, not a use
	causes   bool     // the series are causes, each with its own colour
}

// causeColours are the same on all pages: green is well, blue was wanted, red is
// a limit, orange took too long, purple is the provider, yellow the agent.
var causeColours = []struct{ cause, colour string }{
	{"completed", "green"},
	{"cancelled", "blue"}, {"client_gone", "light-blue"}, {"shutting_down", "dark-blue"},
	{"memory_limit", "red"}, {"pids_limit", "dark-red"}, {"output_limit", "light-red"},
	{"timeout", "orange"}, {"stalled", "dark-orange"},
	{"provider_auth", "purple"}, {"provider_rate_limit", "light-purple"}, {"provider_error", "dark-purple"},
	{"cli_error", "yellow"}, {"killed", "dark-yellow"}, {"lost", "light-yellow"},
	{"invalid_output", "semi-dark-yellow"}, {"unsupported_input", "super-light-yellow"},
}

// unit is a field in Grafana's unit.
func unit(name string) field { return field{unit: name} }

func (f field) stack() field { f.stacked = true; return f }

func (f field) bar() field { f.bars, f.stacked = true, true; return f }

func (f field) logarithmic() field { f.logAxis = true; return f }

func (f field) upTo(v float64) field { f.max = &v; return f }

func (f field) red(bad float64) field { f.bad = &bad; return f }

func (f field) yellow(warn float64) field { f.warn = &warn; return f }

func (f field) say(words map[string]string) field { f.words = words; return f }

func (f field) named() field { f.byName = true; return f }

func (f field) whole() field { none := 0; f.decimals = &none; return f }

func (f field) bound(series ...string) field { f.dashed = series; return f }

func (f field) byCause() field { f.causes = true; return f }

func (f field) colorMode() string {
	if f.warn == nil && f.bad == nil {
		return "none"
	}
	return "background"
}

func (f field) textMode() string {
	if f.byName {
		return "name"
	}
	return "auto"
}

func (f field) config(kind string) *FieldConfig {
	defaults := map[string]any{"unit": f.unit, "min": 0, "thresholds": f.thresholds(), "noValue": "none yet"}
	if f.max != nil {
		defaults["max"] = *f.max
	}
	if f.decimals != nil {
		defaults["decimals"] = *f.decimals
	}
	if len(f.words) > 0 {
		options := map[string]any{}
		for value, text := range f.words {
			options[value] = map[string]any{"text": text}
		}
		defaults["mappings"] = []any{map[string]any{"type": "value", "options": options}}
	}
	defaults["color"] = map[string]any{"mode": "palette-classic-by-name"}
	if kind == "stat" {
		defaults["color"] = map[string]any{"mode": "thresholds"}
	}
	if kind == "timeseries" {
		defaults["custom"] = f.drawing()
	}
	return &FieldConfig{Defaults: defaults, Overrides: f.overrides()}
}

func (f field) thresholds() map[string]any {
	steps := []any{map[string]any{"color": "green", "value": nil}}
	if f.warn != nil {
		steps = append(steps, map[string]any{"color": "yellow", "value": *f.warn})
	}
	if f.bad != nil {
		steps = append(steps, map[string]any{"color": "red", "value": *f.bad})
	}
	return map[string]any{"mode": "absolute", "steps": steps}
}

func (f field) drawing() map[string]any {
	d := map[string]any{"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": false}
	if f.bars {
		d["drawStyle"], d["fillOpacity"], d["lineWidth"] = "bars", 80, 0
	}
	if f.stacked {
		d["stacking"] = map[string]any{"mode": "normal", "group": "A"}
		d["fillOpacity"] = max(40, d["fillOpacity"].(int))
	}
	if f.logAxis {
		d["scaleDistribution"] = map[string]any{"type": "log", "log": 10}
	}
	return d
}

// overrides gives causes their colours, and draws a bound as a dashed line that
// nothing is stacked on.
func (f field) overrides() []any {
	all := []any{}
	if f.causes {
		for _, c := range causeColours {
			all = append(all, map[string]any{
				"matcher":    map[string]any{"id": "byName", "options": c.cause},
				"properties": []any{map[string]any{"id": "color", "value": map[string]any{"mode": "fixed", "fixedColor": c.colour}}},
			})
		}
	}
	for _, series := range f.dashed {
		all = append(all, map[string]any{
			"matcher": map[string]any{"id": "byName", "options": series},
			"properties": []any{
				map[string]any{"id": "custom.lineStyle", "value": map[string]any{"fill": "dash", "dash": []int{8, 6}}},
				map[string]any{"id": "custom.fillOpacity", "value": 0},
				map[string]any{"id": "custom.stacking", "value": map[string]any{"mode": "none"}},
			},
		})
	}
	return all
}
