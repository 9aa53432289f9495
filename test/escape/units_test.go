package escape

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/test/daemon"
	"penstock/test/escape/task"
)

// shipped is a file of ours in systemd/.
func shipped(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv("PENSTOCK_UNITS")
	if dir == "" {
		dir = filepath.Join(daemon.Top(t), "systemd")
	}
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// unit starts the unit file we ship, with the drop-ins we ship and as few lines
// laid over it as can be. uid -1 is a dynamic user's.
func (h *host) unit(t *testing.T, uid int, dropIns ...string) {
	t.Helper()
	h.uid = uid
	over := fmt.Sprintf("[Service]\nExecStart=\nExecStart=%s serve --config %s\nEnvironment=%s=%s\nReadWritePaths=%s\n",
		filepath.Join(h.stage, "penstock"), h.settings(t, ""), task.Mark, task.Untouched, h.dir)
	h.state = "/var/lib/penstock"
	units := "/etc/systemd/system"
	if _, err := os.Stat("/run/units"); err == nil {
		units = "/run/units" // the User-Mode Linux lab
	}
	dropIn := filepath.Join(units, "penstock.service.d")
	if err := os.MkdirAll(dropIn, 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		filepath.Join(units, "penstock.service"): shipped(t, "penstock.service"), filepath.Join(dropIn, "escape.conf"): []byte(over),
	}
	if h.mounts {
		dropIns = append(dropIns, "image.conf")
	}
	for _, name := range dropIns {
		files[filepath.Join(dropIn, name)] = shipped(t, name)
	}
	for path, text := range files {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	systemctl(t, "daemon-reload")
	t.Cleanup(func() {
		systemctl(t, "stop", "penstock")
		if t.Failed() {
			log, _ := exec.Command("journalctl", "-u", "penstock", "-o", "cat", "--no-pager").CombinedOutput()
			t.Logf("daemon's log:\n%s", log)
		}
		if err := os.RemoveAll(dropIn); err != nil {
			t.Error(err)
		}
	})
	if out, err := exec.Command("systemctl", "start", "penstock").CombinedOutput(); err != nil {
		log, _ := exec.Command("journalctl", "-u", "penstock", "--no-pager").CombinedOutput()
		t.Fatalf("systemctl start: %v: %s\n%s", err, out, log)
	}
	out := systemctl(t, "show", "-p", "MainPID", "--value", "penstock")
	pid, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		t.Fatal(err)
	}
	h.pid = pid
	h.uid = idOf(h.pid, "Uid:")
}

// account is the one of account.conf, made as that says.
func account(t *testing.T) int {
	t.Helper()
	for name, to := range map[string]string{"sysusers.conf": "/etc/sysusers.d/penstock.conf", "tmpfiles.conf": "/etc/tmpfiles.d/penstock.conf"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, shipped(t, name), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range [][]string{{"systemd-sysusers"}, {"systemd-tmpfiles", "--create", "penstock.conf"}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", c, err, out)
		}
	}
	u, err := user.Lookup("penstock")
	if err != nil {
		t.Fatal(err)
	}
	return int(number(t, u).Uid)
}

// ownFile tells whether a way is to a file of the daemon's own. A dynamic user
// reaches the state of its unit in the unit's view of the host only.
func ownFile(way string) bool {
	return strings.Contains(way, "record") || strings.Contains(way, "store")
}

// startIn starts a program with another process's view of the file system.
func startIn(pid int, p *exec.Cmd) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		view, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
		if err == nil {
			err = errors.Join(unix.Unshare(unix.CLONE_FS), unix.Setns(int(view.Fd()), unix.CLONE_NEWNS))
			view.Close()
		}
		if err == nil {
			err = p.Start()
		}
		started <- err
	}()
	return <-started
}

// idOf is the real user ("Uid:") or group ("Gid:") of a process; its files in
// /proc may be root's.
func idOf(pid int, which string) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == which {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return -1
}

func systemctl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("systemctl", args...).CombinedOutput()
	if err != nil {
		t.Errorf("systemctl %v: %v: %s", args, err, out)
	}
	return string(out)
}

// startDelegated starts it as an ordinary user whom root has given a subtree.
func startDelegated(t *testing.T, h *host) {
	t.Helper()
	who := number(t, otherAccount(t))
	dir := filepath.Join(cgroupMount(t), "escape-delegated")
	own := filepath.Join(dir, "own")
	if err := os.MkdirAll(own, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, d := range []string{filepath.Join(own, "daemon"), own, dir} {
			_ = os.Remove(d) // the daemon's leaf may be gone already
		}
	})
	enable(t, dir)
	give(t, own, who)
	h.byHand(t, who, own)
}

// enable hands the controllers there are down to a group's children.
func enable(t *testing.T, dir string) {
	t.Helper()
	for _, at := range []string{filepath.Dir(dir), dir} {
		text, err := os.ReadFile(filepath.Join(at, "cgroup.controllers"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range strings.Fields(string(text)) {
			if name != "memory" && name != "pids" && name != "cpu" && name != "io" {
				continue
			}
			if err := os.WriteFile(filepath.Join(at, "cgroup.subtree_control"), []byte("+"+name), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// give makes a group a user's, as systemd's delegation does.
func give(t *testing.T, dir string, who *syscall.Credential) {
	t.Helper()
	for _, name := range []string{".", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"} {
		if err := os.Chown(filepath.Join(dir, name), int(who.Uid), int(who.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}

func number(t *testing.T, u *user.User) *syscall.Credential {
	t.Helper()
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// loginScope is a group as systemd-logind makes one for a login; "" is that no
// service manager is here.
func loginScope(t *testing.T, uid int) string {
	t.Helper()
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return ""
	}
	unit := fmt.Sprintf("session-escape%d.scope", uid)
	shell := exec.Command("systemd-run", "--quiet", "--scope", "--unit="+unit, fmt.Sprintf("--slice=user-%d.slice", uid), "sleep", "1h")
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = shell.Process.Kill() // systemd-run becomes the sleep
		_ = shell.Wait()         // tells the kill
	})
	dir := filepath.Join(cgroupMount(t), "user.slice", fmt.Sprintf("user-%d.slice", uid), unit)
	if err := daemon.Eventually(20*time.Second, func() error {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err == nil && len(text) == 0 {
			err = fmt.Errorf("%s is empty", dir)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// startInSession starts it by hand as a user who has a service manager.
func startInSession(t *testing.T, h *host) {
	t.Helper()
	u, err := user.Lookup("alice")
	if err != nil {
		t.Skip("this machine has no account alice")
	}
	systemctl(t, "start", "systemd-logind")
	if out, err := exec.Command("loginctl", "enable-linger", u.Username).CombinedOutput(); err != nil {
		t.Fatalf("loginctl: %v: %s", err, out)
	}
	systemctl(t, "start", "user@"+u.Uid)
	dir := "/run/user/" + u.Uid
	who := number(t, u)
	h.byHand(t, who, loginScope(t, int(who.Uid)), "XDG_RUNTIME_DIR="+dir, "DBUS_SESSION_BUS_ADDRESS=unix:path="+dir+"/bus")
}
