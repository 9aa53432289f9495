package spawn

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// A child can make as many directories of such a name as it likes, and every
// start waits for the scan.
func TestScanGrowsNoFasterThanWhatItHides(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	h := hider{Hiding: Hiding{Paths: []string{filepath.Join(dir, "tmux-*")}}, log: slog.New(slog.DiscardHandler), mounts: true}
	inOwnNamespace(t, func() error {
		var made int
		cost := func(n int) float64 {
			for ; made < n; made++ {
				if err := os.Mkdir(filepath.Join(dir, fmt.Sprint("tmux-", made)), 0o700); err != nil {
					t.Error(err)
				}
			}
			h.scan()
			return testing.AllocsPerRun(1, h.scan)
		}
		few, many := cost(50), cost(800)
		if hidden, _ := h.state(); len(hidden) != made {
			return fmt.Errorf("%d of %d are hidden", len(hidden), made)
		}
		if many > 20*few {
			return fmt.Errorf("%.0f allocations for 50, %.0f for 800", few, many)
		}
		return nil
	})
}
