package metrics

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// described is a series as the handbook or the exposition has it.
type described struct{ Type, Labels string }

var quoted = regexp.MustCompile("`([^`]+)`")

// handbook reads the table of docs/metrics.md.
func handbook(t *testing.T) map[string]described {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]described{}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| `penstock_") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 6 {
			t.Fatalf("%d cells, want 6: %s", len(cells), line)
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		name := strings.Trim(cells[0], "`")
		if _, twice := out[name]; twice {
			t.Errorf("%s is described twice", name)
		}
		var labels []string
		for _, m := range quoted.FindAllStringSubmatch(cells[2], -1) {
			labels = append(labels, m[1])
		}
		slices.Sort(labels)
		out[name] = described{cells[1], strings.Join(labels, " ")}
		for in, unit := range map[string]string{"_seconds": "seconds", "_bytes": "bytes", "_ratio": "ratio"} {
			if strings.Contains(name, in) && !strings.HasPrefix(cells[3], unit) {
				t.Errorf("%s is in %s, docs/metrics.md says %q", name, unit, cells[3])
			}
		}
		if cells[3] == "" || cells[4] == "" {
			t.Errorf("docs/metrics.md does not say what unit %s has, or where it comes from", name)
		}
	}
	return out
}

// shown is what a scrape has of our own.
func shown(t *testing.T) map[string]described {
	t.Helper()
	families, err := exercised().Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]described{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "penstock_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		slices.Sort(labels)
		out[f.GetName()] = described{Type: strings.ToLower(f.GetType().String()), Labels: strings.Join(labels, " ")}
	}
	return out
}

func TestDocs_EverySeries(t *testing.T) {
	if diff := cmp.Diff(shown(t), handbook(t)); diff != "" {
		t.Errorf("docs/metrics.md (-exposed +written):\n%s", diff)
	}
}
