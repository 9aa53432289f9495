package escape

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
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

	"penstock/test/daemon"
	"penstock/test/escape/task"
)

// column is one kind of run on one kind of host.
type column struct {
	*host
	name   string
	suffix string // of its backends
	who    *syscall.Credential
	base   task.Task
	world  *world
}

// result is one cell of the matrix.
type result struct {
	way     string
	escaped []string // what the run achieved
	absent  bool     // it got nowhere for want of a path in its image
	control []string // what the same attempt achieves outside
	said    string   // by the attempt in the run
	outside string   // by the control
}

func (r result) cell() string {
	switch {
	case len(r.escaped) > 0:
		return "ESCAPED"
	case len(r.control) == 0 || r.absent:
		return "n/a"
	}
	return "held"
}

// open brings a sibling run, a bystander and listeners up.
func (h *host) open(t *testing.T, name, suffix string, who *syscall.Credential) *column {
	t.Helper()
	c := &column{host: h, name: name, suffix: suffix, who: who}
	uid := os.Getuid()
	if who != nil {
		uid = int(who.Uid)
	}
	h.sockets(t, uid)
	sibling := c.sibling(t)
	pids, err := os.ReadFile(filepath.Join(sibling, "cgroup.procs"))
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Fields(string(pids)) // of a run in an image the CLI is the last
	neighbour, err := strconv.Atoi(all[len(all)-1])
	if err != nil {
		t.Fatal(err)
	}
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	path := filepath.Join(h.dir, "path-"+c.name)
	oblige(t, h.attempt(), "unix", path)
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	abstract := "escape-" + newToken(t)
	oblige(t, h.attempt(), "unix", "@"+abstract)
	setuid, bound := filepath.Join(h.stage, "setuid-"+c.name), filepath.Join(h.dir, "setuid-"+c.name)
	for _, path := range []string{setuid, bound} {
		install(t, h.attempt(), path)
		if err := os.Chmod(path, os.ModeSetuid|0o755); err != nil {
			t.Fatal(err)
		}
	}
	c.base = task.Task{
		Dir: h.dir, Uid: uid, Mount: h.mount, Options: cgroupOptions(), Root: h.root, Leaf: h.groupOf(h.pid), Sibling: sibling, RunDir: filepath.Join(h.state, "runs", filepath.Base(sibling)),
		Daemon: h.pid, Neighbour: neighbour, Bystander: c.process(t, who), Other: c.process(t, nobody),
		Record:   recordOf(t, h.state, filepath.Base(sibling)),
		Abstract: abstract, Path: path, TCP: oblige(t, h.attempt(), "tcp", "127.0.0.1:0").Addr().String(),
		Setuid: setuid, ManagerOf: managerOf(),
	}
	if h.image {
		c.base.Image, c.base.SetuidBound = h.imageRoot(), bound
	}
	c.world = newWorld(h, map[string]int{"the daemon": h.pid, "a sibling": neighbour, "a bystander": c.base.Bystander})
	c.world.runDir, c.world.record = c.base.RunDir, c.base.Record
	if c.world.recorded, err = os.ReadFile(c.base.Record); err != nil {
		t.Fatal(err)
	}
	return c
}

// recordOf makes a run's record where the daemon has those of durable runs, of which there is none where
// nothing protects them: in the store beside the state directory or in it, or in that of a user's runtime
// directory. The daemon's own record of the run is in a file that changes with each run that ends.
func recordOf(t *testing.T, state, run string) string {
	t.Helper()
	for _, pattern := range []string{"/run/user/*/penstock-*", state + ".store", filepath.Join(state, "store")} {
		found, _ := filepath.Glob(filepath.Join(pattern, "history", "*.log"))
		if len(found) == 0 {
			continue
		}
		path := filepath.Join(filepath.Dir(filepath.Dir(found[0])), "runs", run, "run.json")
		if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(`{"id":"`+run+`","object":"run"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{filepath.Dir(path), path} { // of the daemon's user
			if info, err := os.Stat(found[0]); err == nil {
				_ = os.Chown(p, int(info.Sys().(*syscall.Stat_t).Uid), int(info.Sys().(*syscall.Stat_t).Gid))
			}
		}
		return path
	}
	t.Fatalf("no index of runs below %s", state)
	return ""
}

// managerOf is a user other than root whose service manager is up.
func managerOf() int {
	dirs, _ := filepath.Glob("/run/user/*/systemd/private")
	for _, dir := range dirs {
		if uid, err := strconv.Atoi(strings.Split(dir, "/")[3]); err == nil && uid != 0 {
			return uid
		}
	}
	return 0
}

// process is one outside of every run.
func (c *column) process(t *testing.T, who *syscall.Credential) int {
	t.Helper()
	p := exec.Command(c.attempt(), "victim")
	p.Dir = "/"
	p.Env = []string{task.Mark + "=" + task.Untouched}
	p.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	// What it writes down, as process 1 of a run in an image does.
	written, err := os.CreateTemp(c.stage, "written-")
	if err != nil {
		t.Fatal(err)
	}
	defer written.Close()
	if err := written.Chmod(0o666); err != nil {
		t.Fatal(err)
	}
	p.ExtraFiles = []*os.File{written}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait() // tells the kill
	})
	return p.Process.Pid
}

// sibling starts a run that stays, and gives its group.
func (c *column) sibling(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	up := make(chan string, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		a, err := daemon.Read(c.request(t, ctx, "victim", "wait"), func(a *daemon.Answer) {
			select {
			case up <- a.Run:
			default:
			}
		})
		if a != nil && a.Error != nil {
			t.Errorf("sibling: %+v, %v", a.Error, err)
		}
		select {
		case up <- "":
		default:
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	run := <-up
	if run == "" {
		t.Fatal("no sibling")
	}
	return filepath.Join(c.root, "runs", run)
}

func (c *column) request(t *testing.T, ctx context.Context, backend, prompt string) *http.Request {
	t.Helper()
	raw, err := json.Marshal(daemon.Body(backend+c.suffix, prompt, map[string]any{"stream": true}))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, "POST", c.url()+"/v1/chat/completions", bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return req
}

func newToken(t *testing.T) string {
	t.Helper()
	raw := make([]byte, 8)
	if _, err := rand.Read(raw); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(raw)
}

// try has one way tried by a run and by a control.
func (c *column) try(t *testing.T, way string) result {
	t.Helper()
	r := result{way: way}
	one := c.base
	one.Way = way
	one.Token = newToken(t)
	if r.escaped, r.said = c.run(t, one); len(r.escaped) > 0 {
		return r // nothing is left to be proved
	}
	r.absent = c.image && onlyAbsent(r.said)
	one.Token, one.Control = newToken(t), true
	r.control, r.outside = c.control(t, one)
	return r
}

// onlyAbsent tells whether all that has refused an attempt is that a path or program isn't there.
func onlyAbsent(said string) bool {
	_, why, refused := strings.Cut(said, "refused: ")
	return refused && !slices.ContainsFunc(strings.Split(why, "; "), func(one string) bool {
		return !strings.Contains(one, "no such file or directory") && !strings.Contains(one, "executable file not found")
	})
}

// run has a run try, and looks when it is over and its group removed.
func (c *column) run(t *testing.T, one task.Task) (found []string, said string) {
	t.Helper()
	prompt, err := json.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	over := make(chan struct{})
	held := make(chan []string, 1)
	go func() { held <- c.held(t, one, over) }()
	a, err := daemon.Read(c.request(t, ctx, "escape", string(prompt)), nil)
	close(over)
	found = <-held
	if err != nil {
		t.Errorf("%s: %v", one.Way, err)
	}
	if a == nil {
		return nil, ""
	}
	if a.Error != nil {
		said = a.Error.Message + " "
	}
	if a.Run == "" {
		t.Fatalf("%s: no run: %d %+v", one.Way, a.Status, a.Error)
	}
	group := filepath.Join(c.root, "runs", a.Run)
	if err := daemon.Eventually(15*time.Second, func() error {
		if _, err := os.Stat(group); err == nil {
			return fmt.Errorf("%s is left", group)
		}
		return nil
	}); err != nil {
		found = append(found, err.Error())
	}
	look := func() []string { return c.world.after(one.Token, "", c.pid) }
	now := look()
	if len(now)+len(found) == 0 && strings.Contains(a.Text, "done") && !stays(one.Way) {
		now = settle(3*time.Second, look)
	}
	return append(found, now...), said + strings.TrimSpace(a.Text)
}

// held looks while a run holds, and lets it and the daemon go on.
func (c *column) held(t *testing.T, one task.Task, over <-chan struct{}) []string {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return nil
		case <-tick.C:
		}
		if _, err := os.Stat(one.Held()); err != nil && stateOf(c.pid) != "T" {
			continue
		}
		var found []string
		groups, _ := filepath.Glob(filepath.Join(c.root, "runs", "run_*"))
		for _, group := range groups {
			if group != c.base.Sibling {
				found = append(found, c.world.during(group, one.Token)...)
			}
		}
		_ = syscall.Kill(c.pid, syscall.SIGCONT)
		release(t, one)
		return found
	}
}

func release(t *testing.T, one task.Task) {
	t.Helper()
	if err := os.WriteFile(one.Released(), nil, 0o644); err != nil {
		t.Error(err)
	}
}
