package cgroup

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"penstock/cgroup/cgroupfs"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

const (
	// LookTimeout is how long a service manager may take to answer at all, and
	// askBound how long to make the scope. A host without one answers at once.
	LookTimeout = 3 * time.Second
	AskTimeout  = 20 * time.Second
	// scopeStop is what TimeoutStopSec= of the shipped unit is: time to drain.
	scopeStop = 90 * time.Second
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
	bound, cancel := context.WithTimeout(ctx, LookTimeout)
	defer cancel()
	m, err := find(bound, managerSockets(os.Geteuid(), os.Getenv))
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
	ctx, cancel := context.WithTimeout(ctx, AskTimeout)
	defer cancel()
	m, err := find(ctx, managerSockets(os.Geteuid(), os.Getenv))
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

// scopeProperties are the scope's. PID 0 is whoever asks, which is right even
// where the manager counts processes differently.
func scopeProperties() []dbus.Property {
	return []dbus.Property{
		property("Description", "Penstock: coding agents, each run in its own cgroup"),
		property("PIDs", []uint32{0}),
		property("Delegate", true),
		property("TasksMax", uint64(math.MaxUint64)),
		property("TimeoutStopUSec", uint64(scopeStop.Microseconds())),
		// Without it a scope that failed would stand in the next one's way.
		property("CollectMode", "inactive-or-failed"),
		// One run's OOM must not end the scope; before systemd 253 it doesn't.
		property("OOMPolicy", "continue"),
	}
}

// optionalProperties came after the others; an older systemd goes without.
var optionalProperties = []string{"CollectMode", "OOMPolicy"}

func property(name string, value any) dbus.Property {
	return dbus.Property{Name: name, Value: godbus.MakeVariant(value)}
}

// without drops the optional property that a refusal names.
func without(all []dbus.Property, refusal error) ([]dbus.Property, bool) {
	e, ok := errors.AsType[godbus.Error](refusal)
	if !ok || e.Name != errPropertyReadOnly {
		return all, false
	}
	i := slices.IndexFunc(all, func(p dbus.Property) bool {
		return slices.Contains(optionalProperties, p.Name) && mentions(e, p.Name)
	})
	if i < 0 {
		return all, false
	}
	return slices.Delete(slices.Clone(all), i, i+1), true
}
