package cgroup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

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
