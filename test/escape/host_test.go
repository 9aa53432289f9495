package escape

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock/test/daemon"
	"penstock/test/escape/task"
)

// host is one kind of host: how the daemon came up and as which user.
type host struct {
	kind   string
	stage  string // programs, readable by everybody
	dir    string // writable by everybody
	port   int
	lab    bool // nothing here can be broken
	image  bool // runs have a root file system of their own
	mounts bool // the unit has image.conf, whatever its runs have

	pid    int
	uid    int    // of the daemon
	root   string // its groups
	state  string // its state_dir
	mount  string // of cgroup2
	escape string // its escape_proofing
	log    string
}

func (h *host) url() string     { return fmt.Sprintf("http://127.0.0.1:%d", h.port) }
func (h *host) attempt() string { return filepath.Join(h.stage, "attempt") }

// kinds of a daemon's start; the runner names one or several in PENSTOCK_ESCAPE.
func kinds() map[string]func(*testing.T, *host) {
	return map[string]func(*testing.T, *host){
		"root":         func(t *testing.T, h *host) { h.byHand(t, nil, loginScope(t, 0)) },
		"user":         startDelegated,
		"unit":         func(t *testing.T, h *host) { h.unit(t, -1) },
		"unit-account": func(t *testing.T, h *host) { h.unit(t, account(t), "account.conf") },
		"unit-root":    func(t *testing.T, h *host) { h.unit(t, 0, "root.conf") },
		"session":      startInSession,
	}
}

// startHost stages the programs, starts the daemon and waits for it.
func startHost(t *testing.T, where, kind string) *host {
	t.Helper()
	kind, mounts := strings.CutSuffix(kind, withMounts)
	kind, image := strings.CutSuffix(kind, withImage)
	start, ok := kinds()[kind]
	if !ok {
		t.Fatalf("PENSTOCK_ESCAPE: no kind %q", kind)
	}
	if os.Getuid() != 0 {
		t.Skip("needs root: for the controls, and to look at every process")
	}
	h := &host{kind: strings.TrimSpace(where + " " + kind), lab: os.Getenv("PENSTOCK_LAB") != "", image: image, mounts: image || mounts, port: freePort(t)}
	h.stage = stage(t)
	h.dir = filepath.Join(h.stage, "dir")
	h.log = filepath.Join(h.stage, "log")
	for _, err := range []error{os.Mkdir(h.dir, 0o777), os.Chmod(h.dir, 0o777)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	install(t, daemon.Binary(t), filepath.Join(h.stage, "penstock"))
	build(t, h.attempt())
	if h.image {
		h.makeImage(t)
	}
	h.sockets(t, 0) // a unit hides what is there when it starts
	start(t, h)
	h.ready(t)
	h.listen(t, task.LateSocket)
	return h
}

// stage is a directory that a unit's own view of the host has, too.
func stage(t *testing.T) string {
	t.Helper()
	parents := []string{"/var/tmp"}
	if os.Getenv("PENSTOCK_LAB") != "" {
		parents = []string{"/opt", "/var/tmp"} // a unit may have a /var/tmp of its own
	}
	for _, parent := range parents {
		dir, err := os.MkdirTemp(parent, "escape-")
		if err != nil {
			continue
		}
		t.Cleanup(func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		})
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	t.Fatalf("none of %v is writable", parents)
	return ""
}

func install(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// build makes the attempt; a guest has no compiler and is given it.
func build(t *testing.T, to string) {
	t.Helper()
	if made := os.Getenv("PENSTOCK_ATTEMPT"); made != "" {
		install(t, made, to)
		return
	}
	c := exec.Command("go", "build", "-o", to, "./attempt")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build the attempt: %v: %s", err, out)
	}
}

// settings is the daemon's configuration; state "" leaves it where the unit has it.
func (h *host) settings(t *testing.T, state string) string {
	t.Helper()
	text := fmt.Sprintf("listen = [\"127.0.0.1:%d\"]\nworkspace_roots = [%q]\n", h.port, h.dir)
	if state != "" {
		text += fmt.Sprintf("state_dir = %q\n", state)
	}
	text += "[limits]\nmemory_max = \"64MiB\"\npids_max = 64\ntimeout = \"20m\"\ngrace = \"500ms\"\n[budget]\nmemory = \"256MiB\"\n[log]\nlevel = \"warn\"\n"
	command, more := h.attempt(), ""
	if h.image {
		text += fmt.Sprintf("[images.escape]\nrootfs = %q\nwritable = \"8MiB\"\n", h.imageRoot())
		command, more = "/bin/attempt", fmt.Sprintf("image = \"escape\"\nmounts = [{ from = %q, to = %[1]q, mode = \"rw\" }]\n", h.dir)
	}
	for _, b := range []struct{ suffix, user string }{{"", ""}, {"_user", "user = \"" + otherAccount(t).Username + "\"\n"}} {
		if b.user != "" && h.uid != 0 {
			continue // only root may
		}
		text += fmt.Sprintf("[backends.escape%[1]s]\nkind = \"exec\"\n%[2]scommand = [%[3]q]\n"+
			"[backends.victim%[1]s]\nkind = \"exec\"\n%[2]scommand = [%[3]q, \"victim\"]\nset_env = { %[4]s = %[5]q }\n",
			b.suffix, b.user+more, command, task.Mark, task.Untouched)
	}
	h.state = state
	path := filepath.Join(h.stage, "penstock.toml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// What a kind ends with: its runs are in an image, or it only has what the unit needs for
// such runs.
const (
	withImage  = "+image"
	withMounts = "+image.conf"
)

func (h *host) imageRoot() string { return filepath.Join(h.stage, "image") }

// makeImage makes a root file system with the attempt in it, of which one directory is
// writable by everybody.
func (h *host) makeImage(t *testing.T) {
	t.Helper()
	for _, dir := range []string{"bin", "etc", "dev", "proc", "tmp", "var/tmp", task.OpenDir} {
		if err := os.MkdirAll(filepath.Join(h.imageRoot(), dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(h.imageRoot(), task.OpenDir), 0o777); err != nil {
		t.Fatal(err)
	}
	install(t, h.attempt(), filepath.Join(h.imageRoot(), "bin", "attempt"))
	// One without libraries: the guests get theirs from the runner.
	shell := os.Getenv("PENSTOCK_BUSYBOX")
	if shell == "" {
		shell = "/bin/busybox"
	}
	install(t, shell, filepath.Join(h.imageRoot(), "bin", "sh"))
}

// otherAccount is whom `user =` names.
func otherAccount(t *testing.T) *user.User {
	t.Helper()
	for _, name := range []string{"bob", "games"} {
		if u, err := user.Lookup(name); err == nil {
			return u
		}
	}
	t.Skip("this machine has neither an account bob nor games")
	return nil
}

// byHand starts the daemon as a child of the test; group "" is the test's own.
func (h *host) byHand(t *testing.T, who *syscall.Credential, group string, env ...string) {
	t.Helper()
	if who != nil {
		h.uid = int(who.Uid)
	}
	home := filepath.Join(h.stage, "home")
	if err := os.Mkdir(home, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, h.uid, h.uid); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(filepath.Join(h.stage, "penstock"), "serve", "--config", h.settings(t, filepath.Join(home, "state")))
	c.Dir = "/"
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, task.Mark + "=" + task.Untouched}, env...)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	log, err := os.Create(h.log)
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout, c.Stderr = log, log
	if group != "" {
		dir, err := os.Open(group)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		c.SysProcAttr.UseCgroupFD, c.SysProcAttr.CgroupFD = true, int(dir.Fd())
	}
	// What a careless starter leaves open must not reach a run.
	leak, err := os.OpenFile(filepath.Join(cgroupMount(t), "cgroup.procs"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close()
	c.ExtraFiles = []*os.File{leak}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	h.pid = c.Process.Pid
	t.Cleanup(func() {
		defer log.Close()
		_ = c.Process.Signal(syscall.SIGTERM)
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("daemon after SIGTERM: %v", err)
			}
		case <-time.After(40 * time.Second):
			_ = c.Process.Kill()
			t.Error("daemon did not end within 40 s of SIGTERM")
		}
		if text, err := os.ReadFile(h.log); err == nil && t.Failed() {
			t.Logf("daemon's log:\n%s", text)
		}
	})
}

// ready waits for the daemon and asks it where its groups are.
func (h *host) ready(t *testing.T) {
	t.Helper()
	var health struct {
		Isolation struct {
			Root   string `json:"root"`
			Memory string `json:"memory"`
			Pids   string `json:"pids"`
			Escape string `json:"escape_proofing"`
		} `json:"isolation"`
	}
	err := daemon.Eventually(40*time.Second, func() error {
		if h.pid != 0 && !alive(h.pid) {
			return nil
		}
		resp, err := http.Get(h.url() + "/health")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&health); err != nil {
			return err
		}
		if health.Isolation.Root == "" {
			return errors.New("no root of groups yet")
		}
		return nil
	})
	if err != nil || health.Isolation.Root == "" {
		text, _ := os.ReadFile(h.log)
		t.Fatalf("daemon is not ready: %v\n%s", err, text)
	}
	is := health.Isolation
	h.root, h.escape, h.mount = is.Root, is.Escape, cgroupMount(t)
	t.Logf("%s: memory by %s, pids by %s; escape_proofing: %s; root of groups: %s", h.kind, is.Memory, is.Pids, is.Escape, is.Root)
}

func cgroupMount(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[2] == "cgroup2" {
			return f[1]
		}
	}
	t.Skip("this machine has no cgroup2 mount")
	return ""
}

// cgroupOptions are those of the file system, which every mount of it shares.
func cgroupOptions() string {
	text, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(text)) {
		_, after, ok := strings.Cut(strings.TrimSpace(line), " - cgroup2 ")
		if f := strings.Fields(after); ok && len(f) == 2 {
			_, options, _ := strings.Cut(f[1], ",") // rw
			return options
		}
	}
	return ""
}

// groupOf is the directory of a process's group.
func (h *host) groupOf(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return filepath.Join(h.mount, path)
		}
	}
	return ""
}

func alive(pid int) bool {
	state := stateOf(pid)
	return state != "" && state != "Z" && state != "X"
}

// stateOf is the letter in /proc/PID/stat; "" when there is none.
func stateOf(pid int) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	at := strings.LastIndexByte(string(text), ')')
	if at < 0 || len(text) < at+3 {
		return ""
	}
	return string(text[at+2])
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
