package scope

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"penstock/cgroup/cgroupfs"
)

func TestManagerSockets(t *testing.T) {
	for _, tt := range []struct {
		name string
		uid  int
		env  map[string]string
		want []string
	}{
		{"root asks the system's", 0, map[string]string{"XDG_RUNTIME_DIR": "/run/user/0"}, []string{
			"/run/systemd/private", "/run/dbus/system_bus_socket",
		}},
		{"a user without any environment", 1000, nil, []string{
			"/run/user/1000/systemd/private", "/run/user/1000/bus",
		}},
		{"a login", 1000, map[string]string{"XDG_RUNTIME_DIR": "/run/user/1000", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/1000/bus"}, []string{
			"/run/user/1000/systemd/private", "/run/user/1000/bus",
		}},
		{"all over the place", 7, map[string]string{"XDG_RUNTIME_DIR": "/x/", "DBUS_SESSION_BUS_ADDRESS": "tcp:host=h;unix:guid=1,path=/b"}, []string{
			"/x/systemd/private", "/run/user/7/systemd/private", "/b", "/x/bus", "/run/user/7/bus",
		}},
		{"nothing to go by", 7, map[string]string{"XDG_RUNTIME_DIR": "x", "DBUS_SESSION_BUS_ADDRESS": "unix:abstract=/b"}, []string{
			"/run/user/7/systemd/private", "/run/user/7/bus",
		}},
	} {
		var got []string
		for _, s := range managerSockets(tt.uid, func(k string) string { return tt.env[k] }) {
			got = append(got, s.path)
			if (s.kind == systemManager) != (tt.uid == 0) || s.direct != strings.HasSuffix(s.path, "/private") {
				t.Errorf("%s: %+v", tt.name, s)
			}
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

// Whatever is at the socket, the answer is quick and says what is wrong.
func TestFind_NoManager(t *testing.T) {
	dir := t.TempDir()
	listen := func(name string, serve func(net.Conn)) {
		l, err := net.Listen("unix", filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				serve(c)
			}
		}()
	}
	held := make(chan net.Conn, 4)
	t.Cleanup(func() {
		for len(held) > 0 {
			(<-held).Close()
		}
	})
	listen("hangs", func(c net.Conn) { held <- c })
	listen("hangs up", func(c net.Conn) { c.Close() })
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "dead"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	for _, tt := range []struct{ name, want string }{
		{"none", "no user manager here: no socket at " + dir + "/none"},
		{"dead", "connection refused"},
		{"hangs up", "no user manager can be asked"},
		{"hangs", "no answer: context deadline exceeded"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := find(ctx, []managerSocket{{userManager, filepath.Join(dir, tt.name), true}})
		cancel()
		if _, ok := errors.AsType[*cgroupfs.Refusal](err); !ok || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want a remedy and %q", tt.name, err, tt.want)
		}
	}
}

// What answers must manage the tree that we are in: a host's manager would
// take a container's process out of its container.
func TestManager_AnotherTree(t *testing.T) {
	f := serveFake(t, &fakeManager{answer: func(string, []any) ([]any, *godbus.Error) {
		return []any{godbus.MakeVariant("/")}, nil
	}})
	_, err := managerSocket{userManager, f.socket, true}.connect(within(t))
	if err == nil || !strings.Contains(err.Error(), "no init.scope of a manager in our tree") {
		t.Errorf("error %v", err)
	}
	var m Manager
	if err := m.locate(0); err == nil || !strings.Contains(err.Error(), "another pid namespace") {
		t.Errorf("a peer without a pid: error %v", err)
	}
}

func refusal(name, message string) *godbus.Error {
	return &godbus.Error{Name: name, Body: []any{message}}
}

func propertyNames(body []any) []string {
	var names []string
	for _, p := range body[2].([][]any) {
		names = append(names, p[0].(string))
	}
	return names
}

// An older systemd goes without what it doesn't know, and without nothing else.
func TestManager_OlderSystemd(t *testing.T) {
	var asked [][]string
	f := serveFake(t, &fakeManager{result: "done", answer: func(method string, body []any) ([]any, *godbus.Error) {
		asked = append(asked, propertyNames(body))
		for _, unknown := range []string{"OOMPolicy", "CollectMode"} {
			if strings.Contains(strings.Join(asked[len(asked)-1], " "), unknown) {
				return nil, refusal(errPropertyReadOnly, "Cannot set property "+unknown+", or unknown property.")
			}
		}
		return []any{godbus.ObjectPath("/job/1")}, nil
	}})
	if err := f.manager(t).start(within(t), "x.scope"); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"Description", "PIDs", "Delegate", "TasksMax", "TimeoutStopUSec"}, asked[len(asked)-1]); d != "" || len(asked) != 3 {
		t.Errorf("asked %d times, at last for (-want +got):\n%s", len(asked), d)
	}
	if _, ok := without(scopeProperties(), *refusal(errPropertyReadOnly, "Cannot set property Delegate, or unknown property.")); ok {
		t.Error("a scope without Delegate= was asked for")
	}
}

func TestManager_EnterRefusals(t *testing.T) {
	here, err := cgroupfs.FindLocation()
	if err != nil {
		skipLacking(t, "cgroup2: "+err.Error())
	}
	base := filepath.Join(here.Own, fmt.Sprintf("penstock-test-scope-%d", os.Getpid()))
	leaf := base + "/" + cgroupfs.DaemonLeaf
	if err := os.MkdirAll(leaf, 0o755); err != nil {
		skipLacking(t, "a writable cgroup2 tree: "+err.Error())
	}
	t.Cleanup(func() {
		if err := cgroupfs.RemoveTree(within(t), base); err != nil {
			t.Error(err)
		}
	})
	d, err := cgroupfs.OpenDir(leaf)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	group, err := filepath.Rel(here.Mount.Point, base)
	if err != nil {
		t.Fatal(err)
	}
	group = filepath.Join(here.Mount.Root, group)

	exists := refusal(errUnitExists, "Unit x.scope was already loaded.")
	for _, tt := range []struct {
		name   string
		start  []*godbus.Error // of each StartTransientUnit; nil is a job
		state  string
		live   bool
		result string
		want   string
		resets int
	}{
		{name: "denied", start: []*godbus.Error{refusal("org.freedesktop.DBus.Error.AccessDenied", "no")}, want: "asked of the user manager: no"},
		{name: "its job fails", start: []*godbus.Error{nil}, result: "failed", want: `ended as "failed"`},
		{name: "its job never ends", start: []*godbus.Error{nil}, want: "its job is not done: context deadline exceeded"},
		{name: "another daemon holds it", start: []*godbus.Error{exists}, state: "active", live: true, want: "another daemon holds it: pids ["},
		{name: "it is being stopped", start: []*godbus.Error{exists}, state: "deactivating", want: "x.scope is deactivating: try again"},
		{name: "a failed one is in the way", start: []*godbus.Error{exists, nil}, state: "failed", result: "done", resets: 1},
		{name: "it never goes", start: []*godbus.Error{exists, exists, exists, exists, exists}, state: "failed", want: errScopeEnding.Error(), resets: 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.live {
				live := exec.Command("sleep", "60")
				live.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: d.FD()}
				if err := live.Start(); err != nil {
					t.Fatal(err)
				}
				defer func() { live.Process.Kill(); live.Wait() }()
			}
			starts := 0
			f := serveFake(t, &fakeManager{result: tt.result, answer: func(method string, body []any) ([]any, *godbus.Error) {
				switch method {
				case "StartTransientUnit":
					starts++
					return []any{godbus.ObjectPath("/job/1")}, tt.start[starts-1]
				case "Get":
					if body[1] == "ControlGroup" {
						return []any{godbus.MakeVariant(group)}, nil
					}
					return []any{godbus.MakeVariant(tt.state)}, nil
				case "ResetFailedUnit":
					return []any{}, nil
				}
				return nil, refusal("org.freedesktop.DBus.Error.UnknownMethod", method)
			}})
			ctx := within(t)
			if tt.result == "" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 500*time.Millisecond)
				defer cancel()
			}
			err := f.manager(t).Enter(ctx, "x.scope")
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if _, ok := errors.AsType[*cgroupfs.Refusal](err); err != nil && !ok {
				t.Errorf("error %v has no remedy", err)
			}
			if n := f.called("ResetFailedUnit"); n != tt.resets {
				t.Errorf("reset %d times, want %d", n, tt.resets)
			}
		})
	}
}

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
