package spawn

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
)

// scoreGuard keeps the daemon's own oom_score_adj
// (Linux Documentation/filesystems/proc.rst, 3.1) what it was at start: any
// process of the same user may raise it, and so have the kernel end the daemon
// in place of itself. Lowering it back to what was given needs no capability.
type scoreGuard struct {
	path string
	was  []byte // nil is unknown
}

func newScoreGuard(path string) (scoreGuard, error) {
	was, err := os.ReadFile(path)
	if err != nil {
		return scoreGuard{}, fmt.Errorf("score for the OOM killer: %w", err)
	}
	return scoreGuard{path: path, was: bytes.TrimSpace(was)}, nil
}

// look puts it back and says so.
func (g scoreGuard) look(log *slog.Logger) {
	if g.was == nil {
		return
	}
	now, err := os.ReadFile(g.path)
	if now = bytes.TrimSpace(now); err == nil && bytes.Equal(now, g.was) {
		return
	}
	if err == nil {
		err = os.WriteFile(g.path, g.was, 0o644)
	}
	log.Warn("somebody changed the daemon's oom_score_adj: put back", "to", string(g.was), "from", string(now), "err", err)
}
