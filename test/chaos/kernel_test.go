package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/test/daemon"
)

// process is one line of /proc.
type process struct {
	pid, parent int
	name        string
}

func look(pid int) (process, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	head, tail, ok := strings.Cut(string(text), ") ")
	_, name, _ := strings.Cut(head, " (")
	fields := strings.Fields(tail)
	if !ok || len(fields) < 2 {
		return process{}, fmt.Errorf("/proc/%d/stat: %q", pid, text)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return process{}, fmt.Errorf("%d is dead", pid)
	}
	parent, err := strconv.Atoi(fields[1])
	return process{pid, parent, name}, err
}

func living(pid int) bool { _, err := look(pid); return err == nil }

// leader is the process of a run that the daemon itself started, or bubblewrap for it.
func (w *world) leader(run string) (process, error) {
	for _, pid := range w.pids(run) {
		p, err := look(pid)
		if err != nil || p.parent != w.Cmd.Process.Pid {
			continue
		}
		if p.name == "bwrap" {
			return w.cli(run, p)
		}
		return p, nil
	}
	return process{}, fmt.Errorf("run %s has no leader yet", run)
}

// pids are a run's processes; it makes no group of its own below its group.
func (w *world) pids(run string) []int {
	text, _ := os.ReadFile(filepath.Join(w.root, "runs", run, "cgroup.procs"))
	var all []int
	for _, f := range strings.Fields(string(text)) {
		if n, err := strconv.Atoi(f); err == nil {
			all = append(all, n)
		}
	}
	return all
}

// until asks less and less often, unlike daemon.Eventually: the lab has one processor.
func until(bound time.Duration, ask func() error) error {
	pause := 10 * time.Millisecond
	return daemon.Eventually(bound, func() error {
		err := ask()
		if err != nil {
			time.Sleep(pause)
			pause = min(pause*3/2, 150*time.Millisecond)
		}
		return err
	})
}

// marked are the processes, of whatever group, that carry the daemon's mark in
// their environment, and those in a group below its root other than its own.
func (w *world) marked() []string {
	var found []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	below := "/" + filepath.Base(w.root) + "/runs/"
	for _, dir := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(dir)); err != nil || !living(pid) {
			continue // gone, or dead and not yet reaped by its new parent
		}
		environ, _ := os.ReadFile(dir + "/environ")
		group, _ := os.ReadFile(dir + "/cgroup")
		if !bytes.Contains(environ, []byte("CHAOS="+w.mark)) && !strings.Contains(string(group), below) {
			continue
		}
		words, _ := os.ReadFile(dir + "/cmdline")
		found = append(found, fmt.Sprintf("%s %q %q", dir, words, group))
	}
	return found
}

// number reads a file of one number below the daemon's root; "max" is infinite.
func (w *world) number(file string) (float64, error) {
	text, err := os.ReadFile(filepath.Join(w.root, file))
	if err != nil {
		return 0, err
	}
	if s := strings.TrimSpace(string(text)); s != "max" {
		return strconv.ParseFloat(s, 64)
	}
	return math.Inf(1), nil
}

// flat reads a file of "key value" lines below the daemon's root.
func (w *world) flat(file string) map[string]float64 {
	w.tb.Helper()
	return flat(w.tb, filepath.Join(w.root, file))
}

func flat(tb testing.TB, path string) map[string]float64 {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Error(err)
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		if v, err := strconv.ParseFloat(fields[1], 64); err == nil {
			all[strings.TrimSuffix(fields[0], ":")] = v
		}
	}
	return all
}

// available is the host's MemAvailable, in bytes.
func available(tb testing.TB) float64 { return 1024 * flat(tb, "/proc/meminfo")["MemAvailable"] }

// openFiles counts the daemon's descriptors.
func (w *world) openFiles() int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.Cmd.Process.Pid))
	if err != nil {
		w.tb.Fatal(err)
	}
	return len(entries)
}

// reclaimable is a directory for files whose pages the kernel can drop: not
// tmpfs. In the lab that is its share with the host.
func reclaimable(t testing.TB) string {
	t.Helper()
	for _, place := range []string{os.Getenv("LAB_SHARE"), os.TempDir(), "/var/tmp"} {
		var fs unix.Statfs_t
		if place == "" || unix.Statfs(place, &fs) != nil || fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.OVERLAYFS_SUPER_MAGIC {
			continue
		}
		dir, err := os.MkdirTemp(place, "chaos-")
		if err != nil {
			continue
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	t.Log("no file system here but tmpfs: no run that lives in the page cache")
	return ""
}

// exists tells a group that is still there.
func (w *world) exists(run string) bool {
	_, err := os.Stat(filepath.Join(w.root, "runs", run))
	return !errors.Is(err, os.ErrNotExist)
}
