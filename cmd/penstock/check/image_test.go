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
	// What is mounted elsewhere has no program.
	f := Finding{OK: true, Detail: "sh"}
	if f.inImage(t.Context(), c, config.Backend{Image: "tiny", Command: []string{"sh"}, Mounts: []config.Mount{{To: "/srv"}}}); f.OK {
		t.Errorf("%+v", f)
	}
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", filepath.Join(root, "etc/resolv.conf")); err != nil {
		t.Fatal(err)
	}
	f = Finding{OK: true, Detail: "script"}
	f.inImage(t.Context(), c, config.Backend{Image: "tiny", Command: []string{"script"}, Mounts: []config.Mount{{To: "/bin"}}})
	if f.OK || !strings.Contains(f.Detail, "/etc/resolv.conf of the image leads to /dev/null") || !strings.Contains(f.Remedy, "make it a file") {
		t.Errorf("no run can have it: %+v", f)
	}
	f = Finding{OK: true}
	if f.inImage(t.Context(), c, config.Backend{Image: "other", Command: []string{"sh"}}); f.OK || !strings.Contains(f.Detail, "no such image") {
		t.Errorf("%+v", f)
	}
}

// What is closed to the user of a backend's runs is no program for them.
func TestBackends_InImageAsUser(t *testing.T) {
	root := t.TempDir()
	for dir, mode := range map[string]os.FileMode{"usr/bin": 0o755, "shut": 0o700, "open": 0o755} {
		if err := os.MkdirAll(filepath.Join(root, dir), mode); err != nil {
			t.Fatal(err)
		}
	}
	for file, mode := range map[string]os.FileMode{"shut/tool": 0o755, "open/tool": 0o755, "open/own": 0o700} {
		if err := os.WriteFile(filepath.Join(root, file), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"usr/bin/linked": "/shut/tool", "usr/bin/well": "../../open/tool"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	c := config.Config{StateDir: t.TempDir(), Images: map[string]config.Image{"tiny": {Rootfs: root, Home: "/home/agent"}}}
	for program, closed := range map[string]string{
		"/shut/tool": "/shut is closed to user", "/open/own": "/open/own is closed to user", "linked": "/usr/bin/linked: /shut is closed to user", "/open/tool": "", "well": "",
	} {
		for user, wanted := range map[string]string{"nobody": closed, "": "", "root": ""} {
			f := Finding{OK: true, Detail: program}
			f.inImage(t.Context(), c, config.Backend{Image: "tiny", User: user, Command: []string{program}})
			if says := strings.Contains(f.Detail, "closed to user"); says != (wanted != "") || !strings.Contains(f.Detail, wanted) {
				t.Errorf("%s as %q: %+v, want %q", program, user, f, wanted)
			}
		}
	}
}
