package hosts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"penstock/config"
	"penstock/test/daemon"
)

// home is one installation of penstock on one kind of host.
type home struct {
	kind   kind
	dir    string // its own, with the program, the configuration and the state
	url    string
	binary string
	runs   int    // systemd units and containers started
	root   string // as the daemon sees it
}

func newHome(t *testing.T, k kind) *home {
	t.Helper()
	// Below /tmp, where every user may pass; t.TempDir is root's.
	dir, err := os.MkdirTemp("/tmp", "hosts-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h := &home{kind: k, dir: dir, url: "http://" + l.Addr().String(), binary: filepath.Join(dir, "penstock")}
	program, err := os.ReadFile(daemon.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("listen = [%q]\nstate_dir = %q\nworkspace_roots = [%q]\nlog.format = \"json\"\n[isolation]\nmode = %q\n[limits]\nmemory_max = \"64MiB\"\n",
		l.Addr(), dir+"/state", dir, k.mode)
	if err := errors.Join(os.WriteFile(h.binary, program, 0o755), os.WriteFile(dir+"/penstock.toml", []byte(config), 0o644)); err != nil {
		t.Fatal(err)
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if k.user != "" {
		u, err := user.Lookup(k.user)
		if err != nil {
			t.Fatal(err)
		}
		uid, _ = strconv.Atoi(u.Uid)
		gid, _ = strconv.Atoi(u.Gid)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, uid, gid)); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *home) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := h.kind.wrap(t, h, append(append([]string{h.binary}, args...), "--config", h.dir+"/penstock.toml"))
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.dir, "LANG=C.UTF-8"}
	return c
}

// report is what the tests read of `check --json`.
type report struct {
	OK   bool `json:"ok"`
	Ways []struct {
		Source, Detail, Remedy string
		OK                     bool
	} `json:"ways"`
	Enforced *struct{ Memory, Pids, Kill string }  `json:"enforced"`
	Findings []struct{ Area, Name, Detail string } `json:"findings"`
}

// check looks, and fails the test if it left anything.
func (h *home) check(t *testing.T) report {
	t.Helper()
	c := h.command(t, "check", "--json") // may start a user's manager
	before := append(groupsBelow(tree), units()...)
	var out, log bytes.Buffer
	c.Stdout, c.Stderr = &out, &log
	err := c.Run()
	var r report
	if jerr := json.Unmarshal(out.Bytes(), &r); jerr != nil {
		t.Fatalf("check: %v, %v: %s%s", err, jerr, &out, &log)
	}
	// Beside a lab's, other packages' daemons come and go meanwhile.
	own := config.Config{StateDir: h.dir + "/state"}.GroupName()
	if os.Getenv("PENSTOCK_LAB") == "1" {
		own = "penstock"
	}
	left := func() []string {
		return slices.DeleteFunc(append(groupsBelow(tree), units()...), func(s string) bool {
			return !strings.Contains(s, own) || slices.Contains(before, s)
		})
	}
	// Its scope goes when systemd has seen that it is empty.
	for late := time.Now().Add(time.Minute); len(left()) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(late) {
			t.Errorf("check left %s", left())
			break
		}
	}
	return r
}

// chosen is the source of the way that serve would take.
func (r report) chosen() string {
	for _, f := range r.Findings {
		if f.Area == "root" && strings.HasPrefix(f.Detail, "serve would make") {
			return f.Name
		}
	}
	return ""
}

// life is one daemon from its start to its end.
type life struct {
	cmd  *exec.Cmd
	log  *safeBuffer
	done chan error
}

func (h *home) serve(t *testing.T) *life {
	t.Helper()
	l := &life{cmd: h.command(t, "serve"), log: new(safeBuffer), done: make(chan error, 1)}
	l.cmd.Stdout, l.cmd.Stderr = l.log, l.log
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { l.done <- l.cmd.Wait() }()
	t.Cleanup(func() {
		if l.done != nil {
			l.cmd.Process.Kill()
		}
		if t.Failed() {
			t.Logf("log:\n%s", l.log)
		}
	})
	return l
}

func (h *home) ready(t *testing.T, l *life) {
	t.Helper()
	await(t, "readiness", func() bool {
		select {
		case err := <-l.done:
			t.Fatalf("serve ended: %v\n%s", err, l.log)
		default:
		}
		r, err := http.Get(h.url + "/livez")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

func (l *life) ended(t *testing.T) error {
	t.Helper()
	select {
	case err := <-l.done:
		l.done = nil
		return err
	case <-time.After(60 * time.Second):
		t.Fatalf("no end within a minute\n%s", l.log)
		return nil
	}
}

// source is what the daemon logged about its root.
func (l *life) source(t *testing.T) string {
	t.Helper()
	for line := range strings.Lines(l.log.String()) {
		var entry struct{ Msg, Source string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "cgroup root" {
			return entry.Source
		}
	}
	t.Fatalf("no line of the root in the log:\n%s", l.log)
	return ""
}

// pid finds the daemon itself by the program that only this home has; its runs
// are children of the same program, older than none of them.
func (h *home) pid(t *testing.T) int {
	t.Helper()
	for _, exe := range glob("/proc/[0-9]*/exe") {
		if target, _ := os.Readlink(exe); target != h.binary {
			continue
		}
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(exe), "cmdline"))
		if bytes.Contains(line, []byte("\x00serve\x00")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(exe)))
			return pid
		}
	}
	t.Fatal("no daemon in /proc")
	return 0
}

func (h *home) post(prompt string) (string, error) {
	body, _ := json.Marshal(map[string]any{"model": "demo", "messages": []map[string]string{{"role": "user", "content": prompt}}})
	r, err := http.Post(h.url+"/v1/chat/completions", "application/json", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return string(b), err
}

type isolation struct {
	Root, Memory, Pids, Kill string
	EscapeProofing           string `json:"escape_proofing"`
}

func (h *home) isolation(t *testing.T) isolation {
	t.Helper()
	r, err := http.Get(h.url + "/health")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var health struct{ Isolation isolation }
	if err := json.NewDecoder(r.Body).Decode(&health); err != nil {
		t.Fatal(err)
	}
	return health.Isolation
}

// groupsBelow lists all groups below path, deepest first.
func groupsBelow(path string) []string {
	var all []string
	filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && p != path {
			all = append(all, p)
		}
		return nil
	})
	slices.Reverse(all)
	return all
}

func units() []string {
	out, _ := exec.Command("systemctl", "list-units", "--all", "--plain", "--no-legend", "--type=scope").Output()
	return strings.Split(string(out), "\n")
}

func glob(pattern string) []string {
	found, _ := filepath.Glob(pattern)
	return found
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within half a minute", what)
		}
	}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
