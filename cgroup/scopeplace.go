package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"penstock/cgroup/cgroupfs"
	"penstock/internal/procinfo"
)

// initScope is the group that a manager itself lives in, directly below the one
// that it manages (systemd.special(7)).
const initScope = "/init.scope"

// locate finds the manager's groups in our tree and makes sure that it speaks of
// the same ones.
func (m *Manager) locate(pid int) error {
	if pid <= 0 {
		return errors.New("its process is in another pid namespace: the host's, if this is a container")
	}
	self, err := procinfo.Host.Group(pid)
	if err != nil {
		return fmt.Errorf("its process %d: %w", pid, err)
	}
	prefix, ok := strings.CutSuffix(self, initScope)
	if !ok {
		return fmt.Errorf("its process %d is in group %s, which is no %s of a manager in our tree", pid, self, initScope[1:])
	}
	if m.mounts, err = procinfo.Host.Mounts(); err != nil {
		return err
	}
	if _, m.Root, err = cgroupfs.Locate(m.mounts, path.Join("/", prefix)); err != nil {
		return err
	}
	// Its own view of the same group: a D-Bus string, quoted.
	own, err := m.GetManagerProperty("ControlGroup")
	if err != nil {
		return err
	}
	theirs, err := strconv.Unquote(own)
	if err != nil {
		return fmt.Errorf("its ControlGroup %s: %w", own, err)
	}
	if path.Join("/", theirs) != path.Join("/", prefix) {
		return fmt.Errorf("it manages group %q and we see %q there: it has another cgroup namespace", theirs, prefix)
	}
	return nil
}

// Dir is the directory of a group that the manager names.
func (m *Manager) Dir(group string) (string, error) {
	_, dir, err := cgroupfs.Locate(m.mounts, group)
	return dir, err
}

// DelegatedUnit asks the user's manager what the mark can't tell: only the
// system's marks what it gives away. No answer is no.
func DelegatedUnit(ctx context.Context, own string) (root string, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, LookTimeout)
	defer cancel()
	m, err := find(ctx, managerSockets(os.Geteuid(), os.Getenv))
	if err != nil {
		return own, false
	}
	defer m.Close()
	// PID 0 is whoever asks.
	unit, err := m.GetUnitNameByPID(ctx, 0)
	if err != nil {
		return own, false
	}
	kind := unitInterface(unit)
	given, err := m.GetUnitTypePropertyContext(ctx, unit, kind, "Delegate")
	if err != nil || given.Value.Value() != true {
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
