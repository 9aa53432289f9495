package escape

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock/test/daemon"
	"penstock/test/escape/task"
)

// control tries outside of the cage: the same user in a group like a run's,
// but without a launcher.
func (c *column) control(t *testing.T, one task.Task) (found []string, said string) {
	t.Helper()
	group := c.controlGroup(t, one.Token)
	dir, err := os.Open(group)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	text, err := json.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	p := exec.Command(c.attempt())
	p.Dir, p.Stdin, p.Env = "/", bytes.NewReader(text), []string{"PATH=" + os.Getenv("PATH")}
	p.SysProcAttr = &syscall.SysProcAttr{Credential: c.who, Setsid: true, UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	leak, err := os.OpenFile(filepath.Join(c.base.Sibling, "cgroup.procs"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close()
	p.ExtraFiles = []*os.File{leak} // what the launcher closes
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start := p.Start
	if c.cage().unit && ownFile(one.Way) {
		start = func() error { return startIn(c.pid, p) }
	}
	if err := start(); err != nil {
		t.Fatalf("%s: control: %v", one.Way, err)
	}
	overdue := time.AfterFunc(30*time.Second, func() { _ = p.Process.Kill() })
	defer overdue.Stop()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if lines.Text() == task.Holding {
			found = append(found, c.world.during(group, one.Token)...)
			release(t, one)
			continue
		}
		said += lines.Text() + " "
	}
	_ = p.Wait() // how it ended says nothing
	inside := group
	if stays(one.Way) {
		inside = ""
	}
	look := func() []string { return c.world.after(one.Token, inside, os.Getpid()) }
	now := look()
	if len(now)+len(found) == 0 && strings.Contains(said, "done") {
		now = settle(time.Second, look)
	}
	c.removeControl(t, group)
	return append(found, now...), strings.TrimSpace(said)
}

// stays tells whether a way is about outliving the leader, not the group.
func stays(way string) bool {
	switch way {
	case "double fork", "setsid", "daemonize, closed fds", "chain of forks", "stopped process", "user+pid+net namespaces: stay as their process 1":
		return true
	}
	return strings.HasSuffix(way, "group below")
}

func (c *column) controlGroup(t *testing.T, token string) string {
	t.Helper()
	group := filepath.Join(c.root, "runs", "control-"+token)
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	limits := map[string]string{"memory.max": "67108864", "memory.swap.max": "0", "pids.max": "64"}
	for name, text := range limits {
		path := filepath.Join(group, name)
		if _, err := os.Stat(path); err == nil {
			if err := os.WriteFile(path, []byte(text), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if c.uid == 0 {
		return group // as the daemon's own groups: root's
	}
	files, err := filepath.Glob(group + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(files, group) {
		if err := os.Chown(path, c.uid, -1); err != nil {
			t.Fatal(err)
		}
	}
	return group
}

// removeControl ends what is left of a control, groups below included.
func (c *column) removeControl(t *testing.T, group string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(group, "cgroup.kill"), []byte("1"), 0); err != nil {
		t.Error(err)
	}
	err := daemon.Eventually(5*time.Second, func() error {
		var dirs []string
		_ = filepath.WalkDir(group, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			_ = syscall.Rmdir(dirs[i]) // told by the next look
		}
		if _, err := os.Stat(group); err == nil {
			return fmt.Errorf("%s is left", group)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
