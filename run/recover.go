package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// recover settles the run directories of an earlier daemon. Their processes
// are gone: the spawner has swept the groups before.
func (m *Manager) recover(ctx context.Context) error {
	entries, err := os.ReadDir(m.state.runs())
	if err != nil {
		return fmt.Errorf("runs: %w", err)
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !e.IsDir() || checkID(e.Name()) != nil {
			m.log.Warn("not a run: ignored", "path", filepath.Join(m.state.runs(), e.Name()))
			continue
		}
		d := &directory{path: m.dirOf(e.Name())}
		m.runs[e.Name()] = m.leftover(d)
	}
	return nil
}

// leftover is where a run of an earlier daemon gets its place in this one: what
// it had not finished is lost.
func (m *Manager) leftover(d *directory) *Run {
	record := d.load()
	if record.State != Finished || record.Ended == nil {
		record.lose("the daemon ended before the run did: its outcome is unknown; check what it did before asking again", time.Now())
		m.log.Warn("run lost", "run", record.ID, "client", record.Client, "backend", record.Backend)
		if err := errors.Join(d.save(record), d.removeScratch()); err != nil {
			m.log.Warn("lost run not settled", "run", record.ID, "err", err)
		}
	}
	r := pastRun(d, record, m.log)
	return r
}
