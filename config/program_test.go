package config

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A program that could not even be looked at: which directory bars the way.
func TestLookPath_ClosedDirectory(t *testing.T) {
	// Not t.TempDir: its own parents may be closed to others.
	top, err := os.MkdirTemp("/tmp", "penstock-closed-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(top)
	closed := filepath.Join(top, "closed")
	bin := filepath.Join(closed, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "agent"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{top: 0o755, closed: 0} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	defer os.Chmod(closed, 0o755)
	if os.Geteuid() == 0 {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := unix.Setfsuid(65534); err != nil { // with it go the capabilities that open all doors
			t.Fatal(err)
		}
		defer unix.Setfsuid(0)
	}
	_, err = lookPath("agent", "/nowhere:"+bin)
	if err == nil || !strings.Contains(err.Error(), "may not enter "+closed+": permission denied") {
		t.Errorf("%v", err)
	}
}
