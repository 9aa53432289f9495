// Package daemon starts the built penstock for tests and looks at it from
// outside: over HTTP, and at the groups the kernel shows. Its own tests drive
// the built-in demo backend; natively and, with the kernel's limits, in the lab.
package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Options of one daemon under test.
type Options struct {
	Config string            // TOML, appended to listen and state_dir
	Env    map[string]string // beside PATH and HOME
	Home   string            // "" is a fresh one
	Bare   bool              // Config may set listen and state_dir itself
	Binary string            // "" is Binary(tb)
	// Contained makes it process 1 of a pid namespace with a /proc of its own, as
	// a container does. Needs root.
	Contained bool
}

// Daemon is one running penstock.
type Daemon struct {
	URL  string
	Dir  string // holds config, state and log
	Home string
	Cmd  *exec.Cmd

	tb     testing.TB
	log    *lockedBuffer
	exited chan struct{}
	err    error
}

// Start runs penstock and waits until it is ready. At the test's end it is
// stopped, and processes or groups that are left fail the test.
func Start(tb testing.TB, o Options) *Daemon {
	tb.Helper()
	d := Launch(tb, o)
	if err := d.waitReady(30 * time.Second); err != nil {
		tb.Fatalf("daemon: %v\n%s", err, d.Log())
	}
	tb.Cleanup(func() { d.Stop() })
	return d
}

// Restart runs penstock again with the same configuration and state, after the
// earlier process has ended.
func (d *Daemon) Restart(tb testing.TB) *Daemon {
	tb.Helper()
	again := &Daemon{URL: d.URL, Dir: d.Dir, Home: d.Home, tb: tb, log: new(lockedBuffer), exited: make(chan struct{})}
	again.Cmd = exec.Command(d.Cmd.Path, d.Cmd.Args[1:]...)
	again.Cmd.Env = d.Cmd.Env
	again.run()
	if err := again.waitReady(30 * time.Second); err != nil {
		tb.Fatalf("daemon: %v\n%s", err, again.Log())
	}
	tb.Cleanup(func() { again.Stop() })
	return again
}

func (d *Daemon) run() {
	d.Cmd.Stdout, d.Cmd.Stderr = d.log, d.log
	if err := d.Cmd.Start(); err != nil {
		d.tb.Fatal(err)
	}
	go func() { d.err = d.Cmd.Wait(); close(d.exited) }()
}

// Launch runs penstock without waiting for it.
func Launch(tb testing.TB, o Options) *Daemon {
	tb.Helper()
	dir := tb.TempDir()
	home := o.Home
	if home == "" {
		home = filepath.Join(dir, "home")
		if err := os.MkdirAll(home, 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	port := freePort(tb)
	top := fmt.Sprintf("workspace_roots = [%q]\n", dir)
	if !o.Bare || !strings.Contains(o.Config, "listen") {
		top += fmt.Sprintf("listen = [\"127.0.0.1:%d\"]\n", port)
	}
	if !o.Bare || !strings.Contains(o.Config, "state_dir") {
		top += fmt.Sprintf("state_dir = %q\n", filepath.Join(dir, "state"))
	}
	file := filepath.Join(dir, "penstock.toml")
	if err := os.WriteFile(file, []byte(top+o.Config), 0o600); err != nil {
		tb.Fatal(err)
	}
	d := &Daemon{
		URL: fmt.Sprintf("http://127.0.0.1:%d", port), Dir: dir, Home: home,
		tb: tb, log: new(lockedBuffer), exited: make(chan struct{}),
	}
	binary := o.Binary
	if binary == "" {
		binary = Binary(tb)
	}
	d.Cmd = exec.Command(binary, "serve", "--config", file)
	if o.Contained {
		const enter = `mount --make-rprivate / && mount -t proc proc /proc && exec "$0" "$@"`
		d.Cmd = exec.Command("/bin/sh", append([]string{"-c", enter}, d.Cmd.Args...)...)
		d.Cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	}
	d.Cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LANG=C.UTF-8"}
	for k, v := range o.Env {
		d.Cmd.Env = append(d.Cmd.Env, k+"="+v)
	}
	d.run()
	return d
}

func (d *Daemon) waitReady(bound time.Duration) error {
	end := time.Now().Add(bound)
	for time.Now().Before(end) {
		select {
		case <-d.exited:
			return fmt.Errorf("exited before it was ready: %v", d.err)
		default:
		}
		if resp, err := http.Get(d.URL + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("not ready after %v", bound)
}

// Stop ends the daemon with SIGTERM and holds it to its word: exit status 0,
// no process and no group left.
func (d *Daemon) Stop() {
	d.tb.Helper()
	select {
	case <-d.exited:
		if d.tb.Failed() {
			d.tb.Logf("the daemon had ended by itself, or was killed: %v; what it logged beside completed runs:\n%s", d.err, d.notable(60))
		}
		return
	default:
	}
	root := d.Root()
	_ = d.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.exited:
		if d.err != nil {
			d.tb.Errorf("daemon after SIGTERM: %v\n%s", d.err, d.Log())
		}
	case <-time.After(60 * time.Second):
		_ = d.Cmd.Process.Kill()
		d.tb.Errorf("daemon did not end within 60 s of SIGTERM\n%s", d.Log())
	}
	if _, err := os.Stat(filepath.Join(root, "runs")); root != "" && err == nil {
		d.tb.Errorf("daemon left its groups: %s: %v", root, list(filepath.Join(root, "runs")))
	}
	if d.tb.Failed() {
		d.tb.Logf("what the daemon logged beside completed runs:\n%s", d.notable(40))
	}
}

// Exited is closed when the daemon process has ended.
func (d *Daemon) Exited() <-chan struct{} { return d.exited }

// ExitCode is the daemon's exit status; valid after Exited.
func (d *Daemon) ExitCode() int { return d.Cmd.ProcessState.ExitCode() }

// Log is all the daemon wrote so far.
func (d *Daemon) Log() string { return d.log.String() }

// AwaitLog waits until the log has text. An answer and a run's record come before the
// line that tells of them, and the line comes through a pipe.
func (d *Daemon) AwaitLog(text string) {
	d.tb.Helper()
	if err := Eventually(30*time.Second, func() error {
		if !strings.Contains(d.Log(), text) {
			return fmt.Errorf("the log doesn't tell %q", text)
		}
		return nil
	}); err != nil {
		d.tb.Errorf("%v\n%s", err, d.notable(40))
	}
}

// notable is the end of the log without the lines of runs that ended well: under
// load those are thousands, and they push what failed out of a CI's output.
func (d *Daemon) notable(most int) string {
	lines := slices.DeleteFunc(strings.Split(d.Log(), "\n"), func(line string) bool {
		return strings.Contains(line, `"level":"INFO"`) && strings.Contains(line, `"cause":"completed"`)
	})
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}

// Health is GET /health, decoded.
func (d *Daemon) Health() (map[string]any, error) {
	resp, err := http.Get(d.URL + "/health")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var h map[string]any
	return h, json.NewDecoder(resp.Body).Decode(&h)
}

// Root is the directory of the daemon's cgroup tree, as /health tells it.
func (d *Daemon) Root() string {
	h, err := d.Health()
	if err != nil {
		return ""
	}
	isolation, _ := h["isolation"].(map[string]any)
	root, _ := isolation["root"].(string)
	return root
}

// Enforces tells whether the kernel holds memory and pids here.
func (d *Daemon) Enforces() bool {
	h, err := d.Health()
	if err != nil {
		return false
	}
	isolation, _ := h["isolation"].(map[string]any)
	return isolation["memory"] == "kernel" && isolation["pids"] == "kernel"
}

// Groups are the names of the run groups that exist now; the groups in which
// the daemon asks CLIs for their version are not runs.
func (d *Daemon) Groups() []string {
	return slices.DeleteFunc(list(filepath.Join(d.Root(), "runs")), isProbe)
}

func isProbe(name string) bool { return strings.HasPrefix(name, "probe_") }

// Pids are the processes of one run, or of all with run "".
func (d *Daemon) Pids(run string) []int { return pidsIn(d.Root(), run) }

func pidsIn(root, run string) []int {
	var pids []int
	start := filepath.Join(root, "runs", run)
	_ = filepath.WalkDir(start, func(path string, e os.DirEntry, err error) error {
		if err == nil && isProbe(e.Name()) {
			return filepath.SkipDir
		}
		if err == nil && e.Name() == "cgroup.procs" {
			text, _ := os.ReadFile(path)
			for _, f := range strings.Fields(string(text)) {
				if n, err := strconv.Atoi(f); err == nil {
					pids = append(pids, n)
				}
			}
		}
		return nil
	})
	return pids
}

// Mounts are how many this process and the daemon see: a run in an image leaves none.
func (d *Daemon) Mounts() (n int) {
	d.tb.Helper()
	for _, pid := range []int{os.Getpid(), d.Cmd.Process.Pid} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
		if err != nil {
			d.tb.Error(err)
		}
		n += bytes.Count(text, []byte("\n"))
	}
	return n
}

// WaitEmpty waits until no run group is left.
func (d *Daemon) WaitEmpty(bound time.Duration) error {
	return Eventually(bound, func() error {
		if g := d.Groups(); len(g) > 0 {
			return fmt.Errorf("groups %v, processes %v", g, d.Pids(""))
		}
		return nil
	})
}

// Eventually asks until the answer is nil or the bound is over.
func Eventually(bound time.Duration, ask func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", bound, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func list(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
