package config

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The defaults hold to what an operator's list must.
func TestHide_Defaults(t *testing.T) {
	s := newScene(t)
	c, err := s.load(t, "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(hideDefault(), c.Isolation.Hide); diff != "" {
		t.Error(diff)
	}
	for _, must := range []string{"/run/user", "/run/dbus", "/run/systemd/private", "/run/docker.sock", "/var/spool/cron", "/tmp/tmux-*"} {
		if !slices.Contains(c.Isolation.Hide, must) {
			t.Errorf("%s is not hidden", must)
		}
	}
	for _, must := range []string{"/proc/sys", "/sys", "/etc/cron.d"} {
		if !slices.Contains(c.Isolation.ReadOnly, must) {
			t.Errorf("%s is not read-only", must)
		}
	}
	// What name lookups, logging and penstock itself need.
	for _, needed := range []string{
		"/run/systemd/resolve/io.systemd.Resolve", "/run/systemd/userdb/io.systemd.DynamicUser", "/run/systemd/journal/dev-log",
		"/run/systemd/notify", "/run/nscd/socket", "/run/penstock/penstock.sock", "/dev/null", "/dev/shm", "/dev/pts", "/dev/fuse",
	} {
		for _, pattern := range c.Isolation.Hide {
			for at := needed; at != "/"; at = filepath.Dir(at) {
				if ok, err := filepath.Match(pattern, at); ok || err != nil {
					t.Errorf("%s takes away %s (%v)", pattern, needed, err)
				}
			}
		}
	}
}

func TestHide_Replaced(t *testing.T) {
	s := newScene(t)
	c, err := s.load(t, "[isolation]\nhide = []\nread_only = [\"/srv/[ab]/*\"]\nabstract_sockets = true\n")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Isolation.Hide) != 0 || !c.Isolation.AbstractSockets {
		t.Errorf("isolation %+v", c.Isolation)
	}
	if diff := cmp.Diff([]string{"/srv/[ab]/*"}, c.Isolation.ReadOnly); diff != "" {
		t.Error(diff)
	}
}

func TestHide_Added(t *testing.T) {
	s := newScene(t)
	c, err := s.load(t, "[isolation]\nhide = [\"default\", \"/srv/door.sock\"]\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(append(hideDefault(), "/srv/door.sock"), c.Isolation.Hide); diff != "" {
		t.Error(diff)
	}
}
