package check

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/config"
)

// The units are those that are shipped.
func TestUnitFindings(t *testing.T) {
	shipped := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join("../../../systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	boxed := config.Config{Backends: map[string]config.Backend{"boxed": {Image: "box"}}}
	none := t.TempDir()
	if all := unitFindings(boxed, []string{none}); all != nil {
		t.Errorf("without a unit: %+v", all)
	}
	const filter, hostname, proc = "SystemCallFilter=@mount, SystemCallFilter=sethostname", "ProtectHostname=no", "BindPaths=/proc:/run/penstock.proc:norbind"
	for _, c := range []struct {
		dropIns []string
		own     string // another's drop-in
		lacks   string
	}{
		{nil, "", strings.Join([]string{filter, hostname, proc}, ", ")},
		{[]string{"account.conf"}, "", strings.Join([]string{filter, hostname, "RestrictSUIDSGID=no", proc}, ", ")},
		{[]string{"root.conf"}, "", "SystemCallFilter=sethostname, " + hostname},
		{[]string{"image.conf"}, "", ""},
		{[]string{"image.conf", "account.conf"}, "", ""},
		{[]string{"image.conf", "root.conf"}, "", ""},
		{[]string{"image.conf"}, "[Service]\nProtectHostname = true\nBindPaths=\n", hostname + ", " + proc},
		{[]string{"image.conf"}, "[Unit]\nProtectHostname=yes\n[Service]\n# BindPaths=\n", ""},
		{nil, "[Service]\nSystemCallFilter=\nProtectHostname=no\nProtectKernelTunables=no\nProtectKernelLogs=no\n", ""},
	} {
		etc, lib := t.TempDir(), t.TempDir()
		write := func(path string, text []byte) {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		write(filepath.Join(lib, "penstock.service"), shipped("penstock.service"))
		for _, name := range c.dropIns {
			write(filepath.Join(etc, "penstock.service.d", name), shipped(name))
		}
		if c.own != "" {
			write(filepath.Join(etc, "penstock.service.d", "zz.conf"), []byte(c.own))
		}
		if all := unitFindings(config.Config{}, []string{etc, lib}); all != nil {
			t.Errorf("no backend has an image: %+v", all)
		}
		all := unitFindings(boxed, []string{etc, lib})
		if len(all) != 1 || all[0].OK != (c.lacks == "") || all[0].Advice == all[0].OK || !all[0].OK && all[0].Detail != "penstock.service lacks "+c.lacks {
			t.Errorf("%s %q: %+v, want %q", c.dropIns, c.own, all, c.lacks)
		}
	}
}
