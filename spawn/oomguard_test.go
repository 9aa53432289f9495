package spawn

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

// A run of the daemon's own user may write the file.
func TestOOMScore_RunCannotRaiseTheDaemons(t *testing.T) {
	s := open(t, false)
	const own = "/proc/self/oom_score_adj"
	was, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	newJob(t, "run_score", "echo 987 >/proc/$PPID/oom_score_adj").run(s)
	eventually(t, "score put back", func() bool {
		now, err := os.ReadFile(own)
		return err == nil && string(now) == string(was)
	})
}
