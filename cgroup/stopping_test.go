package cgroup

import (
	"testing"

	godbus "github.com/godbus/dbus/v5"
)

// A unit that is being stopped with all that is in it is told from one that goes
// on, and from one whose stop the runs don't hear of.
func TestManager_IsStopping(t *testing.T) {
	for _, row := range []struct {
		kind, mode, state string
		stops, spares     bool
	}{
		{"Scope", "control-group", "active", false, false},
		{"Scope", "control-group", "deactivating", true, false},
		{"Scope", "control-group", "inactive", true, false},
		{"Scope", "control-group", "failed", true, false},
		{"Service", "control-group", "reloading", false, false},
		{"Service", "control-group", "activating", false, false},
		{"Service", "control-group", "deactivating", true, false},
		{"Service", "mixed", "deactivating", false, true},
		{"Service", "process", "active", false, true},
	} {
		f := serveFake(t, &fakeManager{answer: func(method string, body []any) ([]any, *godbus.Error) {
			switch {
			case method != "Get":
				return nil, refusal("org.freedesktop.DBus.Error.UnknownMethod", method)
			case body[1] == "KillMode" && body[0] == "org.freedesktop.systemd1."+row.kind:
				return []any{godbus.MakeVariant(row.mode)}, nil
			case body[1] == "ActiveState":
				return []any{godbus.MakeVariant(row.state)}, nil
			}
			return nil, refusal("org.freedesktop.DBus.Error.UnknownProperty", "no")
		}})
		stops, spares, err := f.manager(t).IsStopping(within(t), "x.scope", row.kind)
		if err != nil || stops != row.stops || spares != row.spares {
			t.Errorf("%+v: stops %v, spares %v, %v", row, stops, spares, err)
		}
	}
	silent := serveFake(t, &fakeManager{answer: func(string, []any) ([]any, *godbus.Error) {
		return nil, refusal("org.freedesktop.DBus.Error.AccessDenied", "no")
	}})
	if stops, _, err := silent.manager(t).IsStopping(within(t), "x.scope", "Scope"); err == nil || stops {
		t.Errorf("a manager that tells nothing: %v, %v", stops, err)
	}
}

// Where no manager has made the root, none is asked.
func TestRoot_StoppingWithoutManager(t *testing.T) {
	r := &Root{path: "/sys/fs/cgroup/somewhere/penstock-1"}
	if stops, err := r.Stopping(t.Context()); stops || err != nil {
		t.Errorf("%v, %v", stops, err)
	}
}
