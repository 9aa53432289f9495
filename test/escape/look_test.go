package escape

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"penstock/test/escape/task"
)

// world is what is looked at from outside, and what it was before.
type world struct {
	h       *host
	watch   map[string]int    // processes that must not be touched, by name
	before  map[string]string // contents of files
	began   time.Time
	dead    map[int]bool // zombies that were told
	runDir  string       // of a sibling
	options string       // of the cgroup file system
	// record is what the daemon believes of the sibling, and recorded what it is.
	record   string
	recorded []byte
}

// untouchable are figures of the host and of all runs together.
func (w *world) untouchable() []string {
	files := []string{
		"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/sys/kernel/uevent_helper", task.Parameter, "/proc/sys/kernel/ctrl-alt-del",
		fmt.Sprintf("/proc/%d/oom_score_adj", w.h.pid),
	}
	for _, name := range []string{"memory.max", "memory.swap.max", "pids.max"} {
		files = append(files, filepath.Join(w.h.root, "runs", name))
	}
	return files
}

// spools are where a file is as good as a process.
func spools() []string {
	return []string{"/var/spool/cron/atjobs", "/var/spool/at", "/var/spool/cron/crontabs", "/var/spool/cron", "/etc/cron.d", "/etc/profile.d", "/proc/sys/fs/binfmt_misc"}
}

func newWorld(h *host, watch map[string]int) *world {
	w := &world{h: h, watch: watch, before: map[string]string{}, began: time.Now(), dead: map[int]bool{}, options: cgroupOptions()}
	for _, path := range w.untouchable() {
		if text, err := os.ReadFile(path); err == nil {
			w.before[path] = string(text)
		}
	}
	w.zombies(h.pid)
	return w
}

// during looks while the attempt holds: group is the attempt's own.
func (w *world) during(group, token string) []string {
	var found []string
	for _, name := range []string{"memory.max", "memory.swap.max", "pids.max"} {
		if text, err := os.ReadFile(filepath.Join(group, name)); err == nil && string(text) == "max\n" {
			found = append(found, name+" of its group is max")
		}
	}
	for name, pid := range w.watch {
		if stateOf(pid) == "T" {
			found = append(found, name+" is stopped")
		}
	}
	var now unix.Rlimit
	if err := unix.Prlimit(w.h.pid, unix.RLIMIT_MSGQUEUE, nil, &now); err == nil && now.Cur == 98765 {
		found = append(found, "a resource limit of the daemon is changed")
		now.Cur = now.Max
		if err := unix.Prlimit(w.h.pid, unix.RLIMIT_MSGQUEUE, &now, nil); err != nil {
			found = append(found, err.Error())
		}
	}
	if nice, err := unix.Getpriority(unix.PRIO_PROCESS, w.h.pid); err == nil && nice == 20-17 {
		found = append(found, "the daemon is nice")
		if err := unix.Setpriority(unix.PRIO_PROCESS, w.h.pid, 0); err != nil {
			found = append(found, err.Error())
		}
	}
	// Round strips the monotonic reading: the two clocks ran apart.
	if ahead := time.Now().Round(0).Sub(w.began.Round(0)) - time.Since(w.began); ahead > time.Minute {
		found = append(found, "the host's clock is "+ahead.Round(time.Second).String()+" ahead")
		right := unix.NsecToTimespec(time.Now().Add(-ahead).UnixNano())
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &right); err != nil {
			found = append(found, err.Error())
		}
	}
	found = append(found, w.forged()...)
	text, _ := os.ReadFile(filepath.Join(group, "cgroup.procs"))
	for _, pid := range strings.Fields(string(text)) {
		if environ, _ := os.ReadFile("/proc/" + pid + "/environ"); bytes.Contains(environ, []byte(token)) {
			found = append(found, "the memory of a process that holds the run is overwritten")
		}
		if n, err := strconv.Atoi(pid); err == nil {
			if attr, err := unix.SchedGetAttr(n, 0); err == nil && attr.Policy == unix.SCHED_FIFO {
				found = append(found, "a process has a real-time priority")
			}
		}
		links, _ := filepath.Glob("/proc/" + pid + "/fd/*")
		for _, link := range links {
			if to, _ := os.Readlink(link); to == "/proc/sysrq-trigger" {
				found = append(found, to+" is open")
			}
			if info, err := os.Stat(link); err == nil && info.Mode()&os.ModeDevice != 0 && info.Mode()&os.ModeCharDevice == 0 {
				found = append(found, "a block device is open")
			}
		}
	}
	return append(found, w.changed()...)
}

// forged looks at what the daemon believes of the sibling, and puts it back.
func (w *world) forged() (found []string) {
	store := filepath.Dir(filepath.Dir(filepath.Dir(w.record)))
	moved, _ := filepath.Glob(store + strings.Repeat("[0-9a-f]", 16))
	for _, path := range moved {
		found = append(found, "the daemon's store is moved away")
		if err := os.Rename(path, store); err != nil {
			found = append(found, err.Error())
		}
	}
	text, err := os.ReadFile(w.record)
	if err == nil && bytes.Equal(text, w.recorded) {
		return found
	}
	found = append(found, fmt.Sprintf("the sibling's record is %q, %v", text, err))
	if err := os.WriteFile(w.record, w.recorded, 0o600); err != nil {
		found = append(found, err.Error())
	}
	return found
}

// changed compares figures with what they were, and puts them back.
func (w *world) changed() []string {
	var found []string
	if now := cgroupOptions(); now != w.options {
		found = append(found, fmt.Sprintf("the cgroup file system has the options %q instead of %q", now, w.options))
		_ = unix.Mount("none", w.h.mount, "cgroup2", unix.MS_REMOUNT, w.options)
	}
	for path, was := range w.before {
		text, err := os.ReadFile(path)
		if err != nil || string(text) == was || w.followed(path, string(text)) {
			continue
		}
		found = append(found, fmt.Sprintf("%s is %q", path, strings.TrimSpace(string(text))))
		if err := os.WriteFile(path, []byte(was), 0); err != nil {
			found = append(found, err.Error())
		}
	}
	return found
}

// followed tells whether a figure is one of those that the daemon itself keeps in
// step: the tasks of all runs together are what the host has left.
func (w *world) followed(path, text string) bool {
	if path != filepath.Join(w.h.root, "runs", "pids.max") {
		return false
	}
	now, err := strconv.Atoi(strings.TrimSpace(text))
	was, wasErr := strconv.Atoi(strings.TrimSpace(w.before[path]))
	return err == nil && wasErr == nil && now > was/2 && now < was*5/4
}

// marked are the processes with the token, by the group they are in.
func (h *host) marked(token string) map[int]string {
	out := map[int]string{}
	for _, pid := range pids() {
		text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		if bytes.Contains(text, []byte("\x00"+token+"\x00")) && alive(pid) {
			out[pid] = h.groupOf(pid)
		}
	}
	return out
}

// pids are all processes there are.
func pids() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var out []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// after looks when the attempt is over. inside is the group whose processes do
// not count; parent is the process that may not be left with children it never had.
func (w *world) after(token, inside string, parent int) []string {
	var found []string
	for pid, group := range w.h.marked(token) {
		if inside == "" || (group != inside && !strings.HasPrefix(group, inside+"/")) {
			found = append(found, fmt.Sprintf("process in %s", group))
		}
		kill(pid)
	}
	for name, pid := range w.watch {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if bytes.Contains(text, []byte(token)) {
			found = append(found, name+"'s memory is overwritten")
		}
		if !alive(pid) {
			found = append(found, name+" is gone")
		}
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	if text, _ := os.ReadFile("/proc/keys"); bytes.Contains(text, []byte("escape-"+token)) {
		found = append(found, "a key is left")
	}
	for _, dir := range []string{w.h.dir, filepath.Join(w.h.imageRoot(), task.OpenDir)} {
		if path := filepath.Join(dir, "escape-"+token); os.Remove(path) == nil {
			found = append(found, path+" existed")
		}
	}
	found = append(found, w.toFirst(token)...)
	for _, dir := range append(spools(), w.runDir) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if strings.Contains(e.Name(), token) {
				path := filepath.Join(dir, e.Name())
				found = append(found, path+" exists")
				if os.Remove(path) != nil {
					_ = os.WriteFile(path, []byte("-1"), 0) // a binary format
				}
			}
		}
	}
	found = append(found, w.forged()...)
	for _, whose := range []int{os.Getpid(), w.h.pid} {
		found = append(found, sharedMemory(whose, task.Key(token))...)
	}
	if n := w.zombies(parent); n > 0 {
		found = append(found, fmt.Sprintf("%d zombies", n))
	}
	for _, dir := range []string{w.h.root, filepath.Dir(w.h.root), w.h.mount} {
		_ = os.Remove(filepath.Join(dir, "escape-"+token))
	}
	slices.Sort(found)
	return append(found, w.changed()...)
}

// toFirst looks into what process 1 of a run in an image, or the bystander in its place, writes down.
func (w *world) toFirst(token string) (found []string) {
	files, _ := filepath.Glob(filepath.Join(w.h.stage, "written-*"))
	_ = filepath.WalkDir(filepath.Dir(filepath.Dir(filepath.Dir(w.record))), func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			files = append(files, path)
		}
		return nil
	})
	for _, path := range files {
		if text, _ := os.ReadFile(path); bytes.Contains(text, []byte(`"escape":"`+token)) {
			found = append(found, path+" is written to")
		}
	}
	return found
}

// sharedMemory looks in the IPC namespace of a process and removes what it finds.
func sharedMemory(pid, key int) (found []string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/ipc", pid))
		if err == nil {
			err = unix.Setns(int(namespace.Fd()), unix.CLONE_NEWIPC)
			namespace.Close()
		}
		if err != nil {
			found = []string{"can't look for shared memory: " + err.Error()}
			return
		}
		if id, err := unix.SysvShmGet(key, 0, 0); err == nil {
			found = []string{fmt.Sprintf("shared memory is left where process %d is", pid)}
			if _, err := unix.SysvShmCtl(id, unix.IPC_RMID, nil); err != nil {
				found = append(found, err.Error())
			}
		}
	}()
	<-done
	return found
}

func kill(pid int) {
	fd, err := os.FindProcess(pid)
	if err != nil {
		return
	}
	_ = fd.Kill() // it may have ended
	for end := time.Now().Add(2 * time.Second); alive(pid) && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
	}
}

// zombies counts the dead attempts that a process hasn't waited for and that
// were not there before; the test's own are collected.
func (w *world) zombies(parent int) int {
	var n int
	for _, pid := range pids() {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || !bytes.Contains(text, []byte("(attempt) Z "+strconv.Itoa(parent)+" ")) || w.dead[pid] {
			continue
		}
		if parent != os.Getpid() && collected(pid) {
			continue
		}
		n++
		if w.dead[pid] = true; parent == os.Getpid() {
			_, _ = syscall.Wait4(pid, nil, 0, nil)
			delete(w.dead, pid)
		}
	}
	return n
}

// collected tells whether a zombie goes when its parent is given the time to wait for it.
func collected(pid int) bool {
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if stateOf(pid) != "Z" {
			return true
		}
	}
	return false
}

// settle gives those who answer late a moment.
func settle(patience time.Duration, ask func() []string) []string {
	var found []string
	for end := time.Now().Add(patience); time.Now().Before(end) && len(found) == 0; {
		found = ask()
		time.Sleep(20 * time.Millisecond)
	}
	return found
}
