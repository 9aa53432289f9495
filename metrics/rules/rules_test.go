// Package rules holds the recording and alert rules; here is what keeps them
// true: promtool's own tests, and a runbook for each alert.
package rules

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// all is the first group of every match, in order.
func all(pattern, text string) []string {
	var found []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	return found
}

func alerts(t *testing.T) []string {
	t.Helper()
	names := all(`(?m)^      - alert: (\S+)$`, read(t, "alerts.yaml"))
	if len(names) < 10 {
		t.Fatalf("found only %v: the pattern is wrong", names)
	}
	return names
}

// Each alert links to a page with a place for it.
func TestAlerts_Runbook(t *testing.T) {
	page := filepath.Join("..", "..", "docs", "alerts.md")
	var anchors []string
	for _, heading := range all(`(?m)^### (.*)$`, read(t, page)) {
		anchors = append(anchors, "docs/alerts.md#"+strings.ToLower(heading))
	}
	links := all(`(?m)^          runbook_url: (\S+)$`, read(t, "alerts.yaml"))
	var want []string
	for _, name := range alerts(t) {
		want = append(want, "docs/alerts.md#"+strings.ToLower(name))
	}
	if diff := cmp.Diff(want, links); diff != "" {
		t.Errorf("runbook_url of the alerts (-want +got)\n%s", diff)
	}
	slices.Sort(want)
	slices.Sort(anchors)
	if diff := cmp.Diff(want, anchors); diff != "" {
		t.Errorf("headings of docs/alerts.md (-alerts +headings)\n%s", diff)
	}
}

// A link inside the runbooks leads somewhere.
func TestAlerts_RunbookLinks(t *testing.T) {
	docs := filepath.Join("..", "..", "docs")
	for _, link := range all(`\]\(([^)\s]+)\)`, read(t, filepath.Join(docs, "alerts.md"))) {
		file, anchor, _ := strings.Cut(link, "#")
		if file == "" {
			file = "alerts.md"
		}
		var anchors []string
		for _, heading := range all(`(?m)^#+ (.*)$`, read(t, filepath.Join(docs, file))) {
			anchors = append(anchors, strings.ReplaceAll(strings.ToLower(heading), " ", "-"))
		}
		if anchor != "" && !slices.Contains(anchors, anchor) {
			t.Errorf("%s: no such heading", link)
		}
	}
}

// Every alert has a promtool test in which it fires; that nothing else of its
// name does in the same test is part of what promtool compares.
func TestAlerts_Tested(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	for _, file := range files {
		tests.WriteString(read(t, file))
	}
	for _, name := range alerts(t) {
		if !strings.Contains(tests.String(), "        alertname: "+name+"\n        exp_alerts:\n") {
			t.Errorf("%s never fires in %v", name, files)
		}
	}
}

func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool on this machine: it is in Debian's package prometheus")
	}
	for _, arguments := range [][]string{
		{"check", "rules", "alerts.yaml", "recording.yaml"},
		{"test", "rules", "testdata/daemon.yaml", "testdata/runs.yaml", "testdata/capacity.yaml"},
	} {
		if out, err := exec.Command(promtool, arguments...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, out)
		}
	}
}
