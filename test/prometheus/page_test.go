package prometheus

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/test/daemon"
)

// page is as much of a dashboard's file as Grafana's queries need, read from
// the file that is shipped.
type page struct {
	UID, Title string
	Templating struct{ List []variable }
	Panels     []panel
}

type variable struct{ Name, Type, Definition, AllValue string }

type panel struct {
	Title       string `json:"title"`
	Type        string `json:"type"`
	GridPos     any    `json:"gridPos"`
	FieldConfig any    `json:"fieldConfig"`
	Targets     []struct {
		Expr, LegendFormat string
		Range              bool
	} `json:"-"`
	Shown []shown `json:"shown,omitempty"`
}

// shown is a series as a panel has it.
type shown struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels"`
	Points []point           `json:"points"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *panel) UnmarshalJSON(text []byte) error {
	type plain panel
	raw := struct {
		*plain
		Targets *[]struct {
			Expr, LegendFormat string
			Range              bool
		}
	}{(*plain)(p), &p.Targets}
	return json.Unmarshal(text, &raw)
}

func pages(t *testing.T) []page {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(daemon.Top(t), "metrics", "grafana", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	var all []page
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var p page
		if err := json.Unmarshal(text, &p); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, p)
	}
	return all
}

var labelValues = regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)

// chosen is what Grafana puts in place of each variable: one instance was
// picked from what its query offers, of all else the page shows everything.
func (p page) chosen(s *server, instance string) (map[string]string, error) {
	values := map[string]string{}
	for _, v := range p.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := labelValues.FindStringSubmatch(v.Definition)
		if m == nil {
			return nil, fmt.Errorf("$%s: query %q", v.Name, v.Definition)
		}
		var offered []string
		if err := s.get("label/"+m[2]+"/values", url.Values{"match[]": {filled(m[1], values)}}, &offered); err != nil {
			return nil, fmt.Errorf("$%s: %w", v.Name, err)
		}
		values[v.Name] = v.AllValue
		if v.Name == "instance" {
			values[v.Name] = regexp.QuoteMeta(instance)
			offered = slices.DeleteFunc(offered, func(o string) bool { return o != instance })
		}
		if len(offered) == 0 {
			return nil, fmt.Errorf("$%s: offers nothing: %s", v.Name, v.Definition)
		}
	}
	return values, nil
}

// filled is an expression as Grafana sends it, without the built-in variables.
func filled(expr string, values map[string]string) string {
	for name, value := range values {
		// In a PromQL string a backslash is written twice.
		expr = strings.ReplaceAll(expr, "$"+name, strings.ReplaceAll(value, `\`, `\\`))
	}
	return expr
}

// windowed puts Grafana's own two windows in: what is shown, and what a rate
// looks back, which is four scrapes and at least a step.
func windowed(expr string, from, to time.Time, step time.Duration) string {
	return strings.NewReplacer(
		"$__rate_interval", fmt.Sprintf("%.0fs", max(4*scrapeInterval(), step+scrapeInterval()).Seconds()),
		"$__range", fmt.Sprintf("%.0fs", to.Sub(from).Seconds()),
	).Replace(expr)
}
