package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"penstock/cgroup"
	"penstock/cgroup/root"
	"penstock/cmd/penstock/check"
	"penstock/config"
)

// refused is a start that serve refuses, and check must say so for the same reason.
type refused struct {
	name string
	args []string
	env  []string
	// through is a program in front of penstock.
	through []string
	// says is in what both say; area is check's.
	says, area string
	lacks      string // why this host can't show it; "" is that it can
}

// The refusals of serve, in its order: its configuration, what systemd asks, the
// addresses, the backends, the state directory, the groups, the launcher, the
// self-test, the caps. Not here, as nothing foretells them: a disk that fails while
// leftovers are read, and sockets that systemd gives to the unit alone.
func TestCheck_RefusesAsServe(t *testing.T) {
	t.Parallel() // it waits more than it works
	dir := t.TempDir()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	live, err := net.Listen("unix", dir+"/live")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bad, file := write("bad.toml", "nonsense = 1\n"), write("file", "")
	tokens := write("tokens", "alice:secret\n")
	write("dangling/x", "")
	if err := os.Symlink(dir+"/nowhere", dir+"/dangling/link"); err != nil {
		t.Fatal(err)
	}
	write("runsfile/runs", "")
	write("sessionsfile/sessions", "")
	write("storefile/store", "")
	write("storedfile/store/runs", "")
	write("lockdir/lock/x", "")
	write("later/store/format", "99\n")
	held, err := os.Open(write("held/lock", "1\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	anothers, noOther := filepath.Dir(write("anothers/store/history/00000001.log", "")), ""
	write("anothers/store/format", "2\n")
	if os.Lchown(anothers+"/00000001.log", 54321, 54321) != nil {
		noOther = "only root may give files away"
	}
	free := freePort(t)
	rows := []refused{
		{name: "a key that isn't known", args: []string{"--config", bad}, says: "nonsense", area: "config"},
		{name: "no tokens file", args: []string{"--tokens-file", dir + "/none"}, says: "none", area: "config"},
		{name: "open to all without tokens", args: []string{"--listen", "0.0.0.0:" + free}, says: "reached from other machines", area: "config"},
		{name: "a user that isn't there", args: []string{"--set", "backends.claude.user=nobody-of-that-name"}, says: "nobody-of-that-name", area: "config"},
		{name: "the watchdog's time", env: []string{"WATCHDOG_USEC=soon"}, says: "watchdog", area: "systemd"},
		{name: "port taken", args: []string{"--listen", taken.Addr().String()}, says: "another process has this port", area: "listen"},
		{name: "two addresses of one port", args: []string{"--listen", "127.0.0.1:" + free + ",localhost:" + free}, says: "another process has this port", area: "listen"},
		{name: "not an address of this host", args: []string{"--listen", "203.0.113.7:0", "--tokens-file", tokens}, says: "203.0.113.7:0", area: "listen"},
		{name: "a file for a socket", args: []string{"--listen", "unix:" + file}, says: "exists and is not a socket", area: "listen"},
		{name: "a socket that answers", args: []string{"--listen", "unix:" + dir + "/live"}, says: "another process answers on this socket", area: "listen"},
		{name: "no directory for a socket", args: []string{"--listen", "unix:" + dir + "/none/s"}, says: "no directory", area: "listen"},
		{name: "permissions that a CLI has not", args: []string{"--set", "backends.claude.permissions=sometimes"}, says: "sometimes", area: "config"},
		{name: "state: no place", args: []string{"--state-dir", "/proc/nowhere"}, says: "not writable", area: "state"},
		{name: "state: a file", args: []string{"--state-dir", file}, says: "not a directory", area: "config"},
		{name: "state: below a file", args: []string{"--state-dir", file + "/state"}, says: "not a directory", area: "state"},
		{name: "state: a link to nowhere", args: []string{"--state-dir", dir + "/dangling/link"}, says: "dangling/link", area: "state"},
		{name: "state: runs is a file", args: []string{"--state-dir", dir + "/runsfile"}, says: "runsfile/runs: not a directory", area: "state"},
		{name: "state: sessions is a file", args: []string{"--state-dir", dir + "/sessionsfile"}, says: "sessionsfile/sessions: not a directory", area: "state"},
		{name: "state: store is a file", args: []string{"--state-dir", dir + "/storefile"}, says: "storefile/store", area: "state"},
		{name: "state: runs of the store is a file", args: []string{"--state-dir", dir + "/storedfile"}, says: "storedfile/store/runs: not a directory", area: "state"},
		{name: "state: the lock is a directory", args: []string{"--state-dir", dir + "/lockdir"}, says: "lockdir/lock: is a directory", area: "state"},
		{name: "state: a later version's", args: []string{"--state-dir", dir + "/later"}, says: `format "99": not known here`, area: "state"},
		{name: "state: an index of another user's", args: []string{"--state-dir", filepath.Dir(filepath.Dir(anothers))}, says: "history/00000001.log: permission denied", area: "state",
			through: []string{"setpriv", "--bounding-set", "-dac_override,-dac_read_search"}, lacks: noOther},
		{name: "state: in use", args: []string{"--state-dir", dir + "/held"}, says: "in use by another daemon (pid 1)", area: "state"},
	}
	rows = append(rows, refusedCages(t, dir)...)
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			if tt.lacks != "" {
				t.Skip(tt.lacks)
			}
			tt.both(t, dir)
		})
	}
}

// refusedCages are those of the groups and what is done in them.
func refusedCages(t *testing.T, dir string) []refused {
	t.Helper()
	host, err := root.Inspect(t.Context(), "penstock-refused")
	if err != nil {
		t.Fatal(err)
	}
	chosen, _ := host.Chosen(cgroup.Available)
	noGroups, noSubtree, kernel := "", "", ""
	if !host.Supports(cgroup.Available) {
		noGroups = "no groups can be made here"
	}
	if chosen.Name != "subtree" || os.Geteuid() != 0 {
		noSubtree = "the groups are not a subtree of root's own here"
	}
	if host.Supports(cgroup.Strict) {
		kernel = "the kernel holds all limits here"
	}
	rows := []refused{
		{name: "strict without controllers", args: []string{"--set", "isolation.mode=strict"}, says: "the kernel can't hold memory and pids", area: "root", lacks: kernel + noGroups},
		{name: "a cap that nobody holds", args: []string{"--set", "limits.cpu_max=200%"}, says: "no cpu controller", area: "limits", lacks: kernel + noGroups},
		{name: "no clone3", through: []string{os.Args[0]}, env: []string{withoutClone3 + "=1"}, says: "self-test", area: "isolation", lacks: noGroups},
		{name: "no /dev/null", through: []string{"unshare", "-m", "sh", "-c", `mount --bind /etc/passwd /dev/null && mount -o remount,bind,ro /dev/null && exec "$0" "$@"`},
			says: "/dev/null", area: "isolation", lacks: noGroups + noSubtree},
	}
	group, theirs := "", ""
	if noSubtree == "" {
		group, theirs = heldGroups(t, dir, strings.TrimPrefix(chosen.Detail, "groups in "))
	}
	return append(rows,
		refused{name: "a threaded group", through: []string{"sh", "-c", `echo $$ >` + group + `/cgroup.procs && exec "$0" "$@"`},
			says: "cgroup.type", area: "root", lacks: noSubtree},
		refused{name: "groups of another daemon", args: []string{"--state-dir", theirs}, says: "another daemon holds it", area: "root", lacks: noSubtree},
	)
}

// heldGroups makes a threaded group beside where a root would be, and a root that
// that is lived in, of the state directory that is told.
func heldGroups(t *testing.T, dir, root string) (threaded, theirs string) {
	t.Helper()
	theirs = dir + "/theirs"
	threaded = filepath.Dir(root) + "/penstock-threaded-" + strconv.Itoa(os.Getpid())
	mine := filepath.Dir(root) + "/" + config.Config{StateDir: theirs}.GroupName()
	leaf := mine + "/daemon"
	for _, path := range []string{threaded, mine, leaf} {
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		})
	}
	if err := os.WriteFile(threaded+"/cgroup.type", []byte("threaded"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if err := os.WriteFile(leaf+"/cgroup.procs", []byte(strconv.Itoa(cmd.Process.Pid)), 0o644); err != nil {
		t.Fatal(err)
	}
	return threaded, theirs
}

// both has serve refuse and check fail for the same reason.
func (tt refused) both(t *testing.T, dir string) {
	t.Helper()
	log, err := tt.run(t, dir, "serve")
	if _, ended := errors.AsType[*exec.ExitError](err); !ended || !strings.Contains(log.String(), tt.says) {
		t.Errorf("serve: %v, want %q:\n%s", err, tt.says, log)
	}
	out, err := tt.run(t, dir, "check", "--json")
	var r check.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("check: %v:\n%s", err, out)
	}
	if r.OK || err == nil {
		t.Errorf("check is content: %v", err)
	}
	told := false
	for _, f := range r.Findings {
		same := strings.Contains(f.Name+": "+f.Detail, tt.says)
		told = told || same && !f.OK && !f.Advice && f.Area == tt.area && (f.Remedy != "" || f.Area == "config")
	}
	if !told {
		t.Errorf("check: want a failure of %s with %q and a remedy:\n%s", tt.area, tt.says, out)
	}
}

// run gives what a command wrote. One that serves instead of refusing is ended.
func (tt refused) run(t *testing.T, dir string, args ...string) (*bytes.Buffer, error) {
	t.Helper()
	cmd := program(t, append(append(args, "--listen", "127.0.0.1:0", "--state-dir", dir+"/fresh"), tt.args...)...)
	if len(tt.through) > 0 {
		path, err := exec.LookPath(tt.through[0])
		if err != nil {
			t.Skip("this machine lacks a program of the row: ", err)
		}
		cmd.Args = append(append([]string{}, tt.through...), append([]string{cmd.Path}, cmd.Args[1:]...)...)
		cmd.Path = path
	}
	cmd.Env = append(cmd.Env, tt.env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	return &out, cmd.Wait()
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	return port
}

// withoutClone3 makes this binary execute its arguments as under an old seccomp
// profile: clone3 is ENOSYS.
const withoutClone3 = "PENSTOCK_TEST_WITHOUT_CLONE3"

func execWithoutClone3() error {
	runtime.LockOSThread()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the system call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CLONE3, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return err
	}
	if err := os.Unsetenv(withoutClone3); err != nil {
		return err
	}
	return syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
}
