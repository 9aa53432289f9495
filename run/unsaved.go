package run

import (
	"slices"
	"time"

	"penstock/run/history"
)

// saveLater keeps a run in memory whose final record there is no room for.
func (m *Manager) saveLater(r *Run, save func() error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.save = save
}

// retrySaves writes the final records for which there was no room: the next daemon
// would take such a run for lost.
func (m *Manager) retrySaves() {
	m.saving.Lock()
	defer m.saving.Unlock()
	for _, r := range m.unsaved() {
		if r.save() != nil {
			continue
		}
		m.mu.Lock()
		r.save = nil
		if isClosed(r.done) {
			delete(m.live, r.id)
		}
		m.mu.Unlock()
		r.log.Info("record saved at last")
	}
}

// unsaved are the runs whose final record there was no room for, the oldest first. Their
// save stays as it is while m.saving is held.
func (m *Manager) unsaved() []*Run {
	unsaved := slices.DeleteFunc(m.Live(), func(r *Run) bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return r.save == nil
	})
	slices.SortFunc(unsaved, func(a, b *Run) int { return endOf(a).Compare(endOf(b)) })
	return unsaved
}

func endOf(r *Run) time.Time {
	record := r.Record()
	return record.FinishedAt()
}

// removeUnsaved removes the oldest run whose final record there is no room for, of those that
// ended longer ago than spare and are gone: where such runs alone hold the disk, none could
// ever be saved or started again. It tells how many.
func (m *Manager) removeUnsaved(spare time.Duration) int {
	m.saving.Lock()
	defer m.saving.Unlock()
	for _, r := range m.unsaved() {
		record := r.Record()
		if !isClosed(r.done) || time.Since(record.FinishedAt()) < spare {
			continue
		}
		if record.Durable {
			m.pruned.Add(r.id, record.Client, r.fingerprint)
		}
		m.forget(r)
		e := history.Entry{ID: r.id, Client: record.Client, Filed: record.Durable}
		gone := m.removeFiles([]history.Entry{e}, func(_ string, err error) {
			r.log.Warn("run not removed", "err", err)
			m.mu.Lock()
			m.live[r.id] = r
			m.mu.Unlock()
		})
		if len(gone) > 0 {
			r.log.Warn("run removed: its record could not be saved for want of room, nor a run be started")
			return 1
		}
	}
	return 0
}
