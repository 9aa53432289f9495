package spawn

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
)

// oomScoreKeeper keeps the daemon's own oom_score_adj
// (Linux Documentation/filesystems/proc.rst, 3.1) what it was at start: any
// process of the same user may raise it, and so have the kernel end the daemon
// in place of itself. Lowering it back to what was given needs no capability.
type oomScoreKeeper struct {
	path  string
	given []byte // nil is unknown
}

func newOOMScoreKeeper(path string) (oomScoreKeeper, error) {
	was, err := os.ReadFile(path)
	if err != nil {
		return oomScoreKeeper{}, fmt.Errorf("score for the OOM killer: %w", err)
	}
	return oomScoreKeeper{path: path, given: bytes.TrimSpace(was)}, nil
}

// restore puts it back and says so.
func (g oomScoreKeeper) restore(log *slog.Logger) {
	if g.given == nil {
		return
	}
	now, err := os.ReadFile(g.path)
	if now = bytes.TrimSpace(now); err == nil && bytes.Equal(now, g.given) {
		return
	}
	if err == nil {
		err = os.WriteFile(g.path, g.given, 0o644)
	}
	log.Warn("somebody changed the daemon's oom_score_adj: put back", "to", string(g.given), "from", string(now), "err", err)
}
