package cgroup

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"penstock/systemd/scope"
)

// stoppingTimeout bounds the question to a manager that is asked at a run's end.
const stoppingTimeout = time.Second

// Stopping tells whether a service manager is ending everything that the daemon's
// scope or unit holds. It has then sent SIGTERM to every process there, the runs'
// own among them, and not to the daemon alone. A manager that signals them takes no
// question before it has also changed the unit's state: one that is asked after a
// process's end knows of the signal that came before. An error says that it can't
// be asked.
func (r *Root) Stopping(ctx context.Context) (bool, error) {
	unit := filepath.Base(r.path)
	kind := map[string]string{".scope": "Scope", ".service": "Service"}[filepath.Ext(unit)]
	if kind == "" || r.stopSpares.Load() {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, stoppingTimeout)
	defer cancel()
	m, err := scope.Connect(ctx)
	if err != nil {
		if kind == "Service" {
			r.stopSpares.Store(true) // the shipped unit, which nobody can be asked about and which spares runs
			return false, nil
		}
		return false, fmt.Errorf("ask about %s: %w", unit, err)
	}
	defer m.Close()
	stops, spares, err := m.IsStopping(ctx, unit, kind)
	if spares {
		r.stopSpares.Store(true)
	}
	return stops, err
}
