package sandbox

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOOMScore_IsRestored(t *testing.T) {
	path := filepath.Join(t.TempDir(), "oom_score_adj")
	if err := os.WriteFile(path, []byte("-500\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	g, err := newOOMScoreKeeper(path)
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	log := slog.New(slog.NewTextHandler(&said, nil))
	g.restore(log)
	if said.Len() > 0 {
		t.Errorf("nothing was changed, and it says %s", said.String())
	}
	if err := os.WriteFile(path, []byte("987\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	g.restore(log)
	if got, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(got)) != "-500" || !strings.Contains(said.String(), "from=987") {
		t.Errorf("%q, %v; said %s", got, err, said.String())
	}
}

func TestChildOOMScore_NeverLowered(t *testing.T) {
	for own, want := range map[string]int{"-900\n": 500, "0\n": 500, "700\n": 700} {
		path := filepath.Join(t.TempDir(), "score")
		if err := os.WriteFile(path, []byte(own), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ChildOOMScore(path); got != want || err != nil {
			t.Errorf("%q gives %d, %v, want %d", own, got, err, want)
		}
	}
	if err := SetOOMScore(1<<30, 500); err != nil {
		t.Errorf("a process that is gone: %v", err)
	}
}
