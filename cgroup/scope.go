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

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

const (
	// lookBound is how long a service manager may take to answer at all, and
	// askBound how long to make the scope. A host without one answers at once.
	lookBound = 3 * time.Second
	askBound  = 20 * time.Second
	// scopeStop is what TimeoutStopSec= of the shipped unit is: time to drain.
	scopeStop = 90 * time.Second
)

// lookScope offers a transient scope with Delegate=yes (systemd.scope(5)), so
// that a daemon started by hand gets what a unit would have: of the user's
// manager for an ordinary user, of the system's for root.
func lookScope(ctx context.Context, here place, o Options) (prospect, error) {
	if os.Getenv("SYSTEMD_EXEC_PID") == strconv.Itoa(os.Getpid()) {
		return prospect{}, closed("set Delegate=yes in the unit", "a unit started us (SYSTEMD_EXEC_PID), and a scope would take us out of it")
	}
	if root, ok := delegatedRoot(here.own); ok && filepath.Ext(root) == ".service" {
		return prospect{}, closed("let the unit start penstock itself: exec it in a wrapper script", "%s: a unit's group, and a scope would take us out of it", root)
	}
	unit := o.Name + ".scope"
	bound, cancel := context.WithTimeout(ctx, lookBound)
	defer cancel()
	m, err := findManager(bound, managerSockets(os.Geteuid(), os.Getenv))
	if err != nil {
		return prospect{}, err
	}
	defer m.Close()
	if err := m.holder(bound, unit); err != nil {
		return prospect{}, err
	}
	has, err := controllers(m.root)
	if err != nil {
		return prospect{}, asClosed(err, "run as a unit with Delegate=yes")
	}
	return prospect{
		plan: fmt.Sprintf("groups in %s, asked of the %s over D-Bus (%s)", unit, m.kind, m.socket),
		has:  has,
		take: func(ctx context.Context) (place, site, error) { return takeScope(ctx, unit) },
	}, nil
}

func takeScope(ctx context.Context, unit string) (place, site, error) {
	ctx, cancel := context.WithTimeout(ctx, askBound)
	defer cancel()
	m, err := findManager(ctx, managerSockets(os.Geteuid(), os.Getenv))
	if err != nil {
		return place{}, site{}, err
	}
	defer m.Close()
	if err := m.enter(ctx, unit); err != nil {
		return place{}, site{}, err
	}
	here, err := findPlace()
	if err != nil {
		return place{}, site{}, err
	}
	root := here.own
	if filepath.Base(root) == daemonLeaf {
		root = filepath.Dir(root)
	}
	if filepath.Base(root) != unit {
		return place{}, site{}, closed("see journalctl for "+unit, "the %s made %s, but we are still in %s", m.kind, unit, here.own)
	}
	return here, site{path: root}, nil
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
