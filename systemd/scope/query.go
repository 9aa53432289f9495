package scope

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"penstock/cgroup/cgroupfs"
)

// DelegatedUnit asks the user's manager what the mark can't tell: only the
// system's marks what it gives away. No answer is no.
func DelegatedUnit(ctx context.Context, own string) (root string, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, LookTimeout)
	defer cancel()
	m, err := Connect(ctx)
	if err != nil {
		return own, false
	}
	defer m.Close()
	// PID 0 is the caller.
	unit, err := m.GetUnitNameByPID(ctx, 0)
	if err != nil {
		return own, false
	}
	kind := unitInterface(unit)
	delegate, err := m.GetUnitTypePropertyContext(ctx, unit, kind, "Delegate")
	if err != nil || delegate.Value.Value() != true {
		return own, false
	}
	group, err := m.GetUnitTypePropertyContext(ctx, unit, kind, "ControlGroup")
	if err != nil {
		return own, false
	}
	root, err = m.Dir(text(group.Value))
	return root, err == nil && (own == root || own == root+"/"+cgroupfs.DaemonLeaf)
}

// unitInterface is Service of penstock.service, Scope of penstock.scope.
func unitInterface(unit string) string {
	kind := strings.TrimPrefix(filepath.Ext(unit), ".")
	if kind == "" {
		return kind
	}
	return strings.ToUpper(kind[:1]) + kind[1:]
}

// IsStopping also tells whether a stop of the unit leaves all but the daemon alone
// at first (KillMode= of systemd.kill(5)).
func (m *Manager) IsStopping(ctx context.Context, unit, kind string) (stops, spares bool, err error) {
	mode, err := m.GetUnitTypePropertyContext(ctx, unit, kind, "KillMode")
	if err == nil && text(mode.Value) != "control-group" {
		return false, true, nil
	}
	state, stateErr := m.GetUnitPropertyContext(ctx, unit, "ActiveState")
	if err = errors.Join(err, stateErr); err != nil {
		return false, false, fmt.Errorf("ask about %s: %w", unit, err)
	}
	return text(state.Value) != "active" && text(state.Value) != "activating" && text(state.Value) != "reloading", false, nil
}
