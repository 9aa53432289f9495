package check

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/config"
)

// A backend's program is looked for where its runs would find it.
func TestBackends_InImage(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin/script"), []byte("#!/bin/none\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := config.Config{StateDir: t.TempDir(), Images: map[string]config.Image{"tiny": {Rootfs: root, Home: "/home/agent"}}}
	for program, want := range map[string]string{
		"sh": "sh in image tiny: sh: not on the image's PATH", "script": "a script for /bin/none", "/bin/none": "/bin/none in image tiny: open /bin/none",
	} {
		f := Finding{OK: true, Detail: program}
		f.inImage(t.Context(), c, config.Backend{Image: "tiny", Command: []string{program}})
		if f.OK || !f.Advice || !strings.Contains(f.Detail, want) {
			t.Errorf("%s: %+v, want %q", program, f, want)
		}
		f = Finding{OK: true, Detail: program}
		f.inImage(t.Context(), c, config.Backend{Image: "tiny", Command: []string{program}, Mounts: []config.Mount{{To: "/bin"}}})
		if !f.OK {
			t.Errorf("%s, which a mount may have: %+v", program, f)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", filepath.Join(root, "etc/resolv.conf")); err != nil {
		t.Fatal(err)
	}
	f := Finding{OK: true, Detail: "script"}
	f.inImage(t.Context(), c, config.Backend{Image: "tiny", Command: []string{"script"}, Mounts: []config.Mount{{To: "/bin"}}})
	if f.OK || !strings.Contains(f.Detail, "/etc/resolv.conf of the image leads to /dev/null") || !strings.Contains(f.Remedy, "make it a file") {
		t.Errorf("no run can have it: %+v", f)
	}
	f = Finding{OK: true}
	if f.inImage(t.Context(), c, config.Backend{Image: "other", Command: []string{"sh"}}); f.OK || !strings.Contains(f.Detail, "no such image") {
		t.Errorf("%+v", f)
	}
}
