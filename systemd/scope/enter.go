package scope

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"penstock/cgroup/cgroupfs"
)

// Names of the answers we act on (systemd's bus-common-errors.h).
const (
	errPropertyReadOnly = "org.freedesktop.DBus.Error.PropertyReadOnly"
	errUnitExists       = "org.freedesktop.systemd1.UnitExists"
	errNoSuchUnit       = "org.freedesktop.systemd1.NoSuchUnit"
	errUnitInactive     = "org.freedesktop.systemd1.UnitInactive"
)

// enterTries bounds the race with a scope that comes or goes meanwhile.
const enterTries = 5

// errScopeEnding says that a scope ended while we looked at it.
var errScopeEnding = errors.New("the scope of this name is just ending")

// Enter puts this process into the scope: a new one, or the one in which a
// daemon before us died and left its runs.
func (m *Manager) Enter(ctx context.Context, unit string) error {
	var err error
	for range enterTries {
		if err = m.start(ctx, unit); !isBusError(err, errUnitExists) {
			return m.explain(ctx, unit, err)
		}
		if err = m.join(ctx, unit); !errors.Is(err, errScopeEnding) {
			return m.explain(ctx, unit, err)
		}
	}
	return m.explain(ctx, unit, err)
}

// start asks for the scope and waits until its job is done.
func (m *Manager) start(ctx context.Context, unit string) error {
	properties := scopeProperties()
	for {
		done := make(chan string, 1)
		_, err := m.StartTransientUnitContext(ctx, unit, "fail", properties, done)
		if fewer, ok := without(properties, err); ok {
			properties = fewer
			continue
		}
		if err != nil {
			return err
		}
		select {
		case result := <-done:
			if result != "done" {
				return fmt.Errorf("its job ended as %q", result)
			}
			return nil
		case <-ctx.Done():
			return fmt.Errorf("its job is not done: %w", context.Cause(ctx))
		}
	}
}

// join enters a scope that exists. Its inner group can't hold processes, so it
// is the leaf that we enter, made anew (see freshLeaf).
func (m *Manager) join(ctx context.Context, unit string) error {
	s, err := m.state(ctx, unit)
	if err != nil {
		return err
	}
	switch {
	case s.state == "failed" || s.state == "inactive":
		if err := m.ResetFailedUnitContext(ctx, unit); err != nil && !isBusError(err, errNoSuchUnit) {
			return err
		}
		return errScopeEnding
	case s.state == "active" && s.path == "":
		return errScopeEnding
	case s.state != "active":
		return cgroupfs.Refuse("try again in a moment", "%s is %s", unit, s.state)
	}
	if err := cgroupfs.MakeLeaf(s.path + "/" + cgroupfs.DaemonLeaf); cgroupfs.IsVanished(err) {
		return errScopeEnding
	} else if err != nil {
		return err
	}
	err = m.AttachProcessesToUnit(ctx, unit, "/"+cgroupfs.DaemonLeaf, []uint32{0})
	if isBusError(err, errNoSuchUnit) || isBusError(err, errUnitInactive) {
		return errScopeEnding
	}
	return err
}

// CheckFree refuses a scope that another daemon lives in.
func (m *Manager) CheckFree(ctx context.Context, unit string) error {
	s, err := m.state(ctx, unit)
	if err != nil || s.path == "" {
		return m.explain(ctx, unit, err)
	}
	return cgroupfs.CheckLeafFree(s.path + "/" + cgroupfs.DaemonLeaf)
}

// scopeState is what a scope is before we enter it.
type scopeState struct {
	state string // ActiveState
	path  string // directory of its group; empty when it has none
}

func (m *Manager) state(ctx context.Context, unit string) (scopeState, error) {
	state, err := m.GetUnitPropertyContext(ctx, unit, "ActiveState")
	if err != nil {
		return scopeState{}, err
	}
	group, err := m.GetUnitTypePropertyContext(ctx, unit, "Scope", "ControlGroup")
	if err != nil {
		return scopeState{}, err
	}
	s := scopeState{state: text(state.Value)}
	if path := text(group.Value); path != "" {
		if s.path, err = m.Dir(path); err != nil {
			return s, err
		}
	}
	return s, nil
}

func text(v godbus.Variant) string {
	s, _ := v.Value().(string)
	return s
}

func isBusError(err error, name string) bool {
	e, ok := errors.AsType[godbus.Error](err)
	return ok && e.Name == name
}

func mentions(e godbus.Error, word string) bool {
	return slices.ContainsFunc(e.Body, func(part any) bool {
		s, ok := part.(string)
		return ok && strings.Contains(s, word)
	})
}

// explain says what was asked of whom, and how to go on.
func (m *Manager) explain(ctx context.Context, unit string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*cgroupfs.Refusal](err); ok {
		return err
	}
	journal := "journalctl --unit "
	if m.Kind == userManager {
		journal = "journalctl --user --unit "
	}
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		err = errors.Join(err, ctx.Err())
	}
	remedy := "see " + journal + unit + ", or run as a unit with Delegate=yes"
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		remedy = "run as the user that owns the scope"
	}
	return cgroupfs.Refuse(remedy, "%s asked of the %s: %w", unit, m.Kind, err)
}

// scopeStop is what TimeoutStopSec= of the shipped unit is: time to drain.
const scopeStop = 90 * time.Second

// scopeProperties are the scope's. PID 0 is the caller, which is right even
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
