package backend

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnv(t *testing.T) {
	daemon := []string{
		"PATH=/bin", "HOME=/home/u", "LC_ALL=C", "LC_TIME=de", "LCX=no", "SECRET=s", "EMPTY=", "BROKEN", "TERM=xterm",
		"PENSTOCK_TOKEN=t", "NOTIFY_SOCKET=/n", "LISTEN_FDS=1", "LISTEN_PID=1", "CREDENTIALS_DIRECTORY=/c", "WATCHDOG_USEC=1",
		"XDG_RUNTIME_DIR=/run/user/1", "DBUS_SESSION_BUS_ADDRESS=unix:", "INVOCATION_ID=i", "STATE_DIRECTORY=/s",
	}
	lookup := func(name string) (string, bool) {
		for _, entry := range daemon {
			if n, v, ok := strings.Cut(entry, "="); ok && n == name {
				return v, true
			}
		}
		return "", false
	}
	for _, row := range []struct {
		name string
		pass []string
		set  map[string]string
		want []string
	}{
		{"nothing", nil, nil, []string{"TERM=dumb"}},
		{"base", BasePass(), nil, []string{"HOME=/home/u", "LC_ALL=C", "LC_TIME=de", "PATH=/bin", "TERM=xterm"}},
		{"exact and absent", []string{"SECRET", "EMPTY", "NOWHERE", "BROKEN"}, nil, []string{"EMPTY=", "SECRET=s", "TERM=dumb"}},
		{"set wins", []string{"PATH"}, map[string]string{"PATH": "/opt", "A": "b=c"}, []string{"A=b=c", "PATH=/opt", "TERM=dumb"}},
		{"a lone star is no prefix", []string{"*"}, nil, []string{"TERM=dumb"}},
		{"the daemon's own, by name", []string{"PENSTOCK_TOKEN", "NOTIFY_SOCKET", "LISTEN_FDS", "CREDENTIALS_DIRECTORY", "WATCHDOG_USEC", "INVOCATION_ID", "STATE_DIRECTORY"}, nil, []string{"TERM=dumb"}},
		{"the daemon's own, by prefix", []string{"P*", "NOTIFY_*", "LISTEN_*", "CRED*", "S*"}, nil, []string{"PATH=/bin", "SECRET=s", "TERM=dumb"}},
		{"what the operator sets is his", nil, map[string]string{"LISTEN_FDS": "3", "": "x", "A=B": "x"}, []string{"LISTEN_FDS=3", "TERM=dumb"}},
		{"a way out, only by name", []string{"XDG_RUNTIME_DIR"}, nil, []string{"TERM=dumb", "XDG_RUNTIME_DIR=/run/user/1"}},
	} {
		if diff := cmp.Diff(row.want, Env(lookup, daemon, row.pass, row.set)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", row.name, diff)
		}
	}
}
