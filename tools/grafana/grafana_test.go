package grafana

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const shipped = "../../metrics/grafana/"

var update = flag.Bool("update", false, "write the dashboards")

// What is shipped is what is described here, and nothing else lies beside it.
func TestPages_ShippedFiles(t *testing.T) {
	var described []string
	for file, d := range All() {
		described = append(described, file)
		want, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(shipped+file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(shipped + file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-described +shipped); rewrite with -update\n%s", file, diff)
		}
	}
	there, err := filepath.Glob(shipped + "*.json")
	if err != nil {
		t.Fatal(err)
	}
	for i := range there {
		there[i] = filepath.Base(there[i])
	}
	slices.Sort(described)
	if diff := cmp.Diff(described, there); diff != "" {
		t.Errorf("files (-described +shipped)\n%s", diff)
	}
}

func TestPages_ImportableAnywhere(t *testing.T) {
	uids := map[string]bool{}
	for file, d := range All() {
		if uids[d.UID] || !strings.HasPrefix(d.UID, "penstock-") || len(d.UID) > 40 {
			t.Errorf("%s: uid %q is taken, foreign or over Grafana's 40 characters", file, d.UID)
		}
		uids[d.UID] = true
		var names []string
		for _, v := range d.Templating.List {
			names = append(names, v.Name)
		}
		if !slices.Equal(names[:3], []string{"datasource", "job", "instance"}) {
			t.Errorf("%s: variables %v", file, names)
		}
		for _, p := range d.Panels {
			if p.Type != "row" && *p.Datasource != *chosenSource() {
				t.Errorf("%s: %s: data source %v", file, p.Title, p.Datasource)
			}
			for _, q := range p.Targets {
				if *q.Datasource != *chosenSource() {
					t.Errorf("%s: %s %s: data source %v", file, p.Title, q.RefID, q.Datasource)
				}
			}
		}
	}
}

func TestPanels_Explained(t *testing.T) {
	for file, d := range All() {
		titles, ids := map[string]bool{}, map[int]bool{}
		for _, p := range d.Panels {
			if ids[p.ID] || titles[p.Title] {
				t.Errorf("%s: %s: id or title is there twice", file, p.Title)
			}
			ids[p.ID], titles[p.Title] = true, true
			if p.Type == "row" {
				continue
			}
			if len(p.Description) < 20 || !strings.HasSuffix(p.Description, ".") {
				t.Errorf("%s: %s: description %q", file, p.Title, p.Description)
			}
			if p.FieldConfig.Defaults["unit"] == "" {
				t.Errorf("%s: %s: no unit", file, p.Title)
			}
			if p.GridPos.X+p.GridPos.W > 24 || p.GridPos.H == 0 || p.GridPos.W == 0 {
				t.Errorf("%s: %s: place %+v", file, p.Title, p.GridPos)
			}
			if len(p.Targets) == 0 {
				t.Errorf("%s: %s: asks nothing", file, p.Title)
			}
		}
		for i, p := range d.Panels {
			for _, other := range d.Panels[:i] {
				if overlap(p.GridPos, other.GridPos) {
					t.Errorf("%s: %s lies over %s", file, p.Title, other.Title)
				}
			}
		}
	}
}

func overlap(a, b GridPos) bool {
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}

// Every metric is asked for the job and instance that were chosen, and rates
// follow the scrape interval: a fixed one is empty or blunt on another host.
func TestExpressions(t *testing.T) {
	for file, d := range All() {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				if strings.Contains(q.Expr, "@") || !strings.Contains(q.Expr, `job=~"$job",instance=~"$instance"`) {
					t.Errorf("%s: %s: not of the chosen job and instance: %s", file, p.Title, q.Expr)
				}
				for _, window := range strings.SplitAfter(q.Expr, "[")[1:] {
					window = window[:strings.Index(window, "]")]
					if window != "$__rate_interval" && window != "$__range" {
						t.Errorf("%s: %s: window [%s]: %s", file, p.Title, window, q.Expr)
					}
				}
			}
		}
	}
}
