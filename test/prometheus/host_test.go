package prometheus

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/test/daemon"
)

// lacking are the panels that must stay empty on this host, and why.
func lacking(t *testing.T, d *daemon.Daemon) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.Root(), "cgroup.controllers"))
	if err != nil {
		t.Fatal(err)
	}
	controllers := strings.Fields(string(text))
	missing := map[string]string{}
	for panel, controller := range map[string]string{"OOM kills": "memory", "Forks refused": "pids", "Disk": "io"} {
		if !slices.Contains(controllers, controller) {
			missing[panel] = "this host's cgroup v2 tree has no " + controller + " controller"
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(d.Dir, &fs); err != nil {
		t.Fatal(err)
	}
	if fs.Type == unix.TMPFS_MAGIC {
		missing["Disk"] = "the runs' files are on a tmpfs, not on a disk"
	}
	if _, err := os.Stat("/proc/pressure"); err != nil {
		missing["Pressure"] = "this kernel has no PSI"
	}
	return missing
}

// An emulated machine may take seconds for a scrape or a start, and has one
// processor for all of it: there everything is slower.
func emulated() bool { return os.Getenv("PENSTOCK_LAB") != "" }

// bound is for a machine with much else to do: it takes half a minute, because a
// run counts as stalled after 30 s.
func bound() time.Duration {
	if emulated() {
		return 20 * time.Minute
	}
	return 6 * time.Minute
}

// scrapeInterval is short, so that the load need not last.
func scrapeInterval() time.Duration {
	if emulated() {
		return 10 * time.Second
	}
	return time.Second
}

// rest is how long a client does nothing before it asks again.
func rest() time.Duration {
	if emulated() {
		return 4 * time.Second
	}
	return 600 * time.Millisecond
}
