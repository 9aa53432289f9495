package metrics

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden file")

var (
	// foreign are the series of the libraries: their values are this process's.
	foreign = regexp.MustCompile(`(?m)^((?:go|process|promhttp)_[a-z_]+(?:\{[^}]*\})?) .*$`)
	goIs    = regexp.MustCompile(`(goversion|version)="go[^"]*"`)
)

// The whole exposition: every name, type, help and label, and our own values.
func TestGolden(t *testing.T) {
	got := foreign.ReplaceAllString(exposition(t, exercised(), ""), "$1 *")
	got = goIs.ReplaceAllString(got, `$1="*"`)
	golden := filepath.Join("testdata", "exposition.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("exposition (-want +got); rewrite it with: go test ./metrics -run Golden -update\n%s", diff)
	}
}
