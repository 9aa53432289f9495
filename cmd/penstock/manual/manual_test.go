package manual

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"penstock/config"
)

// TestManual_EveryKey holds the page and the schema together.
func TestManual_EveryKey(t *testing.T) {
	page := manual{root: &cobra.Command{Use: "penstock"}, source: "penstock test"}.configuration().text
	for _, k := range config.AllKeys() {
		table, name := tableOf(k.Name)
		if tableText[table] == "" {
			t.Errorf("%s: table %q has no words of introduction", k.Name, table)
		}
		if table == "backends.*.limits" {
			continue // told as [limits]
		}
		if term := literal(strings.TrimSuffix(name, "*")); !strings.Contains(page, "\n.TP\n"+term) {
			t.Errorf("%s: no item %s", k.Name, term)
		}
	}
	if !strings.Contains(page, literal(`"127.0.0.1:3344"`)) && !strings.Contains(page, literal(`["127.0.0.1:3344"]`)) {
		t.Error("the default of listen is not in the form of the file")
	}
}

func TestManual_Example(t *testing.T) {
	dir := t.TempDir()
	text := strings.ReplaceAll(configurationExample, "/srv/checkouts", dir)
	path := filepath.Join(dir, "penstock.toml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(config.Sources{File: path, Environ: []string{"HOME=" + dir}, Host: config.Host{MemoryBytes: 64 << 30}}); err != nil {
		t.Error(err)
	}
}

// TestRoff sees that no text is taken for a request, and that what is
// to be typed stays ASCII.
func TestRoff(t *testing.T) {
	r := newPage("x", "8", "", "")
	r.text(prose(".conf\n'quoted' `--a-b ~ \\n`"))
	want := ".PP\n\\&.conf\n\\(aqquoted\\(aq \\fB\\-\\-a\\-b \\(ti \\(rsn\\fR\n"
	if got := r.String(); !strings.HasSuffix(got, want) {
		t.Errorf("got %q\nwant it to end in %q", got, want)
	}
}
