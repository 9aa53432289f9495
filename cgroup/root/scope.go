package root

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"penstock/cgroup/cgroupfs"
	"penstock/systemd/scope"
)

// probeScope offers a transient scope with Delegate=yes (systemd.scope(5)), so
// that a daemon started by hand gets what a unit would have: of the user's
// manager for an ordinary user, of the system's for root.
func probeScope(ctx context.Context, here cgroupfs.Location, o Options) (candidate, error) {
	if os.Getenv("SYSTEMD_EXEC_PID") == strconv.Itoa(os.Getpid()) {
		return candidate{}, cgroupfs.Refuse("set Delegate=yes in the unit", "a unit started us (SYSTEMD_EXEC_PID), and a scope would take us out of it")
	}
	if root, ok := delegatedRoot(here.Own); ok && filepath.Ext(root) == ".service" {
		return candidate{}, cgroupfs.Refuse("let the unit start penstock itself: exec it in a wrapper script", "%s: a unit's group, and a scope would take us out of it", root)
	}
	unit := o.Name + ".scope"
	bound, cancel := context.WithTimeout(ctx, scope.LookTimeout)
	defer cancel()
	m, err := scope.Connect(bound)
	if err != nil {
		return candidate{}, err
	}
	defer m.Close()
	if err := m.CheckFree(bound, unit); err != nil {
		return candidate{}, err
	}
	has, err := cgroupfs.Controllers(m.Root)
	if err != nil {
		return candidate{}, cgroupfs.WithRemedy(err, "run as a unit with Delegate=yes")
	}
	return candidate{
		plan:        fmt.Sprintf("groups in %s, asked of the %s over D-Bus (%s)", unit, m.Kind, m.Socket),
		controllers: has,
		acquire:     func(ctx context.Context) (cgroupfs.Location, rootSite, error) { return acquireScope(ctx, unit) },
	}, nil
}

func acquireScope(ctx context.Context, unit string) (cgroupfs.Location, rootSite, error) {
	ctx, cancel := context.WithTimeout(ctx, scope.AskTimeout)
	defer cancel()
	m, err := scope.Connect(ctx)
	if err != nil {
		return cgroupfs.Location{}, rootSite{}, err
	}
	defer m.Close()
	if err := m.Enter(ctx, unit); err != nil {
		return cgroupfs.Location{}, rootSite{}, err
	}
	here, err := cgroupfs.FindLocation()
	if err != nil {
		return cgroupfs.Location{}, rootSite{}, err
	}
	root := here.Own
	if filepath.Base(root) == cgroupfs.DaemonLeaf {
		root = filepath.Dir(root)
	}
	if filepath.Base(root) != unit {
		return cgroupfs.Location{}, rootSite{}, cgroupfs.Refuse("see journalctl for "+unit, "the %s made %s, but we are still in %s", m.Kind, unit, here.Own)
	}
	return here, rootSite{path: root}, nil
}

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
			r.stopSpares.Store(true) // the shipped unit, about which none can be asked and which spares runs
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
