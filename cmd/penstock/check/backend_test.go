package check

import (
	"os"
	"path/filepath"
	"testing"

	"penstock/config"
)

func TestBlockedAt(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: files of other users")
	}
	top, err := os.MkdirTemp("/tmp", "barred")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	dir := top + "/owned/below"
	if err := os.MkdirAll(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		mode     os.FileMode
		uid, gid int
		path, as string
		groups   []string
		at       string
	}{
		{"open to all", 0o711, 0, 0, dir, "1234", nil, ""},
		{"root's alone", 0o700, 0, 0, dir, "1234", nil, top + "/owned"},
		{"its own", 0o700, 1234, 0, dir, "1234", nil, ""},
		{"closed to its owner", 0o011, 1234, 0, dir, "1234", nil, top + "/owned"},
		{"by its group", 0o710, 0, 55, dir, "1234", []string{"7", "55"}, ""},
		{"of another group", 0o710, 0, 55, dir, "1234", []string{"7"}, top + "/owned"},
		{"not there yet", 0o711, 0, 0, dir + "/later", "1234", nil, dir + "/later"},
		{"root itself", 0o600, 1234, 0, dir, "0", nil, ""},
	}
	for _, tt := range tests {
		owned := filepath.Dir(dir)
		if err := os.Chown(owned, tt.uid, tt.gid); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(owned, tt.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(top, 0o711); err != nil {
			t.Fatal(err)
		}
		stopped, at := blockedAt(tt.path, tt.as, tt.groups)
		if stopped != (tt.at != "") || (stopped && at != tt.at) {
			t.Errorf("%s: %v %q, want %q", tt.name, stopped, at, tt.at)
		}
	}
}

func TestRuntimeFindings(t *testing.T) {
	c := config.Config{Backends: map[string]config.Backend{"plain": {}}}
	if all := runtimeFindings(t.Context(), c); all != nil {
		t.Errorf("no backend has an image: %+v", all)
	}
	c.Backends["boxed"] = config.Backend{Image: "box"}
	t.Setenv("PATH", "/nowhere")
	all := runtimeFindings(t.Context(), c)
	if len(all) != 1 || all[0].OK || all[0].Advice || all[0].Detail == "" || all[0].Remedy == "" {
		t.Errorf("without bubblewrap: %+v", all)
	}
}
