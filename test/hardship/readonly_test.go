package hardship

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/internal/disktest"
	"penstock/test/daemon"
)

// The state directory's file system turns read-only under live runs, as one does
// whose disk fails: those that write hear why, new ones are refused with the
// reason, and when it can be written again all is well.
func TestReadOnlyDisk(t *testing.T) {
	lab(t, "a file system must be made read-only by force")
	var root unix.Stat_t
	if err := unix.Stat("/", &root); err != nil || unix.Major(root.Dev) != 0 {
		t.Skipf("this machine's root is on a disk, which would turn read-only too (%v)", err)
	}
	dir := disktest.New(t).Dir
	d := start(t, dir, "")
	still := ask(t, d, "/sleep 6 words", nil)
	spewing := ask(t, d, "/sleep 5 /spew 1MiB", nil)
	queue(t, d, 2, 0)
	spoken(t, dir, 2)

	readOnly(t, dir)
	for range slots {
		c := ask(t, d, "never", nil)
		c.failed(t, "state directory: read-only file system", "start_failed")
	}
	told := map[string]string{}
	for c, text := range map[*call]string{still: "words", spewing: strings.TrimSpace(spewed(1 << 20))} {
		// ext4 may still take what a file open for writing gets, as it has no block to find for it.
		if a := c.wait(t); a.Error == nil {
			c.completed(t, text)
			told[a.Run] = "completed"
		} else {
			c.failed(t, "state directory: read-only file system", "cli_error")
			told[a.Run] = "cli_error"
		}
	}
	queue(t, d, 0, 0)
	if status, health, err := d.Get("/health"); err != nil || status != http.StatusServiceUnavailable || !strings.Contains(fmt.Sprint(health["degraded"]), "read-only file system") {
		t.Errorf("health: status %d, %v, %v", status, health["degraded"], err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatalf("remount read-write: %v", err)
	}
	recovered(t, d)
	if entries, err := os.ReadDir(filepath.Join(dir, "state", "runs")); err != nil || len(entries) != slots+2 {
		t.Errorf("%d runs on disk, want %d: %v", len(entries), slots+2, err)
	}
	d.Stop()
	next := d.Restart(t)
	for id, cause := range told {
		if _, run, err := next.Get("/v1/runs/" + id); err != nil || run["cause"] != cause {
			t.Errorf("the next daemon: run %s: %v, cause %v, was told %s", id, err, run["cause"], cause)
		}
	}
}

// readOnly makes all file systems on disks read-only, whoever writes to them
// (sysrq u): a plain remount is refused while the daemon holds its lock file.
func readOnly(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile("/proc/sysrq-trigger", []byte("u"), 0); err != nil {
		t.Skipf("this kernel has no sysrq: %v", err)
	}
	if err := daemon.Eventually(patience, func() error {
		name := filepath.Join(dir, "probe")
		err := os.WriteFile(name, nil, 0o600)
		if err == nil {
			return os.ErrExist
		}
		return nil
	}); err != nil {
		t.Fatalf("%s does not turn read-only: %v", dir, err)
	}
}

// spewed is what the demo writes for /spew.
func spewed(size int) string {
	return strings.Repeat(strings.Repeat("x", 4095)+"\n", size/4096)
}
