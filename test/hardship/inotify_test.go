package hardship

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/test/daemon"
)

// No watch, or no instance, of inotify is to be had: outputs are polled, streams
// still come as they are written, and the log says what is missing.
func TestNoInotify(t *testing.T) {
	lab(t, "the kernel's limits must be set")
	words := strings.TrimSpace(strings.Repeat("word ", 10))
	stream := func(d *daemon.Daemon) {
		t.Helper()
		c := ask(t, d, "/delay 200ms "+words, nil)
		c.completed(t, words)
		if a := c.answer; a.Deltas < 5 || a.Spread < time.Second {
			t.Errorf("%d deltas over %v: not a stream", a.Deltas, a.Spread)
		}
	}
	d := start(t, "", "")
	running := ask(t, d, "/sleep 3 end", nil)
	queue(t, d, 1, 0)
	if err := daemon.Eventually(patience, func() error {
		if watches(t, d) == 0 {
			return fmt.Errorf("no watches with a live run")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	restore := sysctl(t, "max_user_watches", "0")
	stream(d)
	running.completed(t, "end")
	d.AwaitLog("max_user_watches")
	queue(t, d, 0, 0)
	if err := daemon.Eventually(patience, func() error { // an answer comes before its run is gone
		if n := watches(t, d); n != 0 {
			return fmt.Errorf("%d watches are left", n)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	restore()
	recovered(t, d)

	restore = sysctl(t, "max_user_instances", "0")
	none := start(t, "", "")
	none.AwaitLog("max_user_instances")
	stream(none)
	recovered(t, none)
	restore()
}

// sysctl sets a limit of inotify(7) until the test's end, or until it is restored.
func sysctl(t *testing.T, name, value string) (restore func()) {
	t.Helper()
	path := filepath.Join("/proc/sys/fs/inotify", name)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0); err != nil {
			t.Errorf("set %s: %v", path, err)
		}
	}
	write(value)
	restore = func() { write(string(before)) }
	t.Cleanup(restore)
	return restore
}

// watches counts those of the daemon (proc(5), fdinfo).
func watches(t *testing.T, d *daemon.Daemon) (n int) {
	t.Helper()
	infos, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", d.Cmd.Process.Pid))
	for _, name := range infos {
		text, _ := os.ReadFile(name)
		n += strings.Count(string(text), "inotify wd:")
	}
	return n
}
