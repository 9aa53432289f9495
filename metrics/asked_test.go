package metrics

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// exposed is what a daemon shows.
type exposed map[string]labelled

// labelled is one metric's labels with the values they have.
type labelled map[string][]string

var (
	sample  = regexp.MustCompile(`^([a-z_]+)(?:\{(.*)\})? \S+$`)
	pair    = regexp.MustCompile(`(\w+)="([^"]*)"`)
	asked   = regexp.MustCompile(`(?:^|[^:\w])((?:penstock|process|go)_[a-z_]+)(?:\{([^}]*)\})?`)
	matcher = regexp.MustCompile(`(\w+)(?:=~|!~|!=|=)"([^"]*)"`)
	grouped = regexp.MustCompile(`(?:by|on|ignoring|without) ?\(([^)]*)\)`)
	level   = regexp.MustCompile(`(\w+):penstock_`)
)

func show(t *testing.T) exposed {
	t.Helper()
	all := exposed{}
	for _, line := range strings.Split(scrape(t, exercised(), "").Body.String(), "\n") {
		m := sample.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if all[m[1]] == nil {
			all[m[1]] = labelled{"job": nil, "instance": nil}
		}
		for _, p := range pair.FindAllStringSubmatch(m[2], -1) {
			all[m[1]][p[1]] = append(all[m[1]][p[1]], p[2])
		}
	}
	return all
}

// Renaming a metric, a label or a cause breaks no dashboard and no alert
// without being told: a query for what is not there is just silent.
func TestQueries_AskForWhatIsThere(t *testing.T) {
	there := show(t)
	queries := append(dashboardQueries(t), ruleQueries(t)...)
	if len(queries) < 80 {
		t.Fatalf("found only %d queries: the search is wrong", len(queries))
	}
	for _, query := range queries {
		labels := []string{"job", "instance"}
		for _, m := range level.FindAllStringSubmatch(query, -1) {
			labels = append(labels, strings.Split(m[1], "_")...)
		}
		for _, m := range asked.FindAllStringSubmatch(query, -1) {
			metric, ok := there[m[1]]
			if !ok {
				t.Errorf("%s is no metric: %s", m[1], query)
				continue
			}
			for label := range metric {
				labels = append(labels, label)
			}
			for _, problem := range metric.refuse(m[2], there) {
				t.Errorf("%s: %s: %s", m[1], problem, query)
			}
		}
		for _, m := range grouped.FindAllStringSubmatch(query, -1) {
			for _, label := range strings.Split(m[1], ",") {
				if label = strings.TrimSpace(label); !slices.Contains(labels, label) {
					t.Errorf("%s is a label of nothing in %s", label, query)
				}
			}
		}
	}
}

// refuse says which matchers of a selector can match nothing.
func (metric labelled) refuse(selector string, all exposed) []string {
	var problems []string
	for _, m := range matcher.FindAllStringSubmatch(selector, -1) {
		if _, ok := metric[m[1]]; !ok {
			problems = append(problems, "no label "+m[1])
		}
		// Of these labels some metric shows every value from the start.
		if !slices.Contains([]string{"cause", "reason", "mode", "op"}, m[1]) {
			continue
		}
		for _, word := range strings.Split(m[2], "|") {
			whole := regexp.MustCompile("^(?:" + word + ")$")
			if !slices.ContainsFunc(all.values(m[1]), whole.MatchString) {
				problems = append(problems, "no "+m[1]+" is "+word)
			}
		}
	}
	return problems
}

func (e exposed) values(label string) []string {
	var values []string
	for _, metric := range e {
		values = append(values, metric[label]...)
	}
	return values
}

func dashboardQueries(t *testing.T) []string {
	t.Helper()
	var queries []string
	for _, file := range glob(t, "grafana/*.json") {
		var page struct {
			Templating struct {
				List []struct{ Definition string }
			}
			Panels []struct{ Targets []struct{ Expr string } }
		}
		if err := json.Unmarshal(file, &page); err != nil {
			t.Fatal(err)
		}
		for _, v := range page.Templating.List {
			queries = append(queries, v.Definition)
		}
		for _, p := range page.Panels {
			for _, q := range p.Targets {
				queries = append(queries, q.Expr)
			}
		}
	}
	return queries
}

// ruleQueries are the rules whole: no text in them names a metric it does not ask.
func ruleQueries(t *testing.T) []string {
	t.Helper()
	var queries []string
	for _, file := range glob(t, "rules/*.yaml") {
		queries = append(queries, regexp.MustCompile(`(?m)^      - (?:alert|record): `).Split(string(file), -1)[1:]...)
	}
	return queries
}

func glob(t *testing.T, pattern string) [][]byte {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: nothing there (%v)", pattern, err)
	}
	var files [][]byte
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, text)
	}
	return files
}
