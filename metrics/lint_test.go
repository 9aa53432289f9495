package metrics

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestNamesAreGood(t *testing.T) {
	problems, err := testutil.GatherAndLint(exercised().Gatherer())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("NOT CHECKED: this machine has no promtool: apt-get install prometheus (make test does so)")
	}
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(exposition(t, exercised(), ""))
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	// The Go collector's own names are not ours to mend.
	lines = slices.DeleteFunc(lines, func(l string) bool { return l == "" || strings.HasPrefix(l, "go_") })
	if len(lines) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, strings.Join(lines, "\n"))
	}
}
