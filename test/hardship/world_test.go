package hardship

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/test/daemon"
)

// patience is for what must come, however busy the machine is.
const patience = 30 * time.Second

// slots of every daemon here.
const slots = 6

const config = `
drain_timeout = "1s"
[log]
level = "warn"
[budget]
memory = "100%"
max_runs = 6
[limits]
memory_max = "64MiB"
grace = "500ms"
`

// lab skips where the machine is not the test's own.
func lab(t *testing.T, needs string) {
	t.Helper()
	if os.Getenv("PENSTOCK_LAB") != "1" || os.Geteuid() != 0 {
		t.Skipf("this machine is no lab (PENSTOCK_LAB=1, root): %s", needs)
	}
}

// room is a file system of its own for a state directory.
type room struct {
	tb  testing.TB
	dir string
}

// mount gives a tmpfs of so many MiB.
func mount(t *testing.T, mib int) *room {
	t.Helper()
	lab(t, "a file system must be mounted")
	r := &room{t, t.TempDir()}
	if err := unix.Mount("hardship", r.dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=700", mib)); err != nil {
		t.Fatalf("mount tmpfs on %s: %v", r.dir, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(r.dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", r.dir, err)
		}
	})
	return r
}

// fill leaves no byte free, until the file it returns is removed.
func (r *room) fill() (free func()) {
	r.tb.Helper()
	name := filepath.Join(r.dir, "ballast")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		r.tb.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, os.Getpagesize()))
	}
	if !errors.Is(err, unix.ENOSPC) {
		r.tb.Fatalf("fill %s: %v", name, err)
	}
	return sync.OnceFunc(func() {
		if err := os.Remove(name); err != nil {
			r.tb.Error(err)
		}
	})
}

// start runs a daemon whose state is in dir, "" is a fresh one.
func start(t *testing.T, dir, more string) *daemon.Daemon {
	t.Helper()
	if dir != "" {
		more = fmt.Sprintf("state_dir = %q\n", filepath.Join(dir, "state")) + config + more
	} else {
		more = config + more
	}
	return daemon.Start(t, daemon.Options{Bare: dir != "", Config: more})
}

// call is one request under way.
type call struct {
	answer *daemon.Answer
	err    error
	took   time.Duration
	done   chan struct{}
}

// ask sends a streamed request and doesn't wait.
func ask(t *testing.T, d *daemon.Daemon, prompt string, extra map[string]any) *call {
	t.Helper()
	body := daemon.Body("demo", prompt, map[string]any{"stream": true})
	for k, v := range extra {
		body[k] = v
	}
	c := &call{done: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	go func() {
		defer close(c.done)
		defer cancel()
		begun := time.Now()
		c.answer, c.err = d.Chat(ctx, body, nil)
		c.took = time.Since(begun)
	}()
	return c
}

// wait gives the answer, which must come.
func (c *call) wait(t *testing.T) *daemon.Answer {
	t.Helper()
	<-c.done
	if c.err != nil {
		t.Fatalf("no answer: %v", c.err)
	}
	return c.answer
}

// completed demands a whole answer with that text.
func (c *call) completed(t *testing.T, text string) {
	t.Helper()
	if a := c.wait(t); a.Error != nil || a.Finish != "stop" || strings.TrimSpace(a.Text) != text {
		t.Errorf("want %.40q, got status %d, %.40q, finish %q, error %+v", text, a.Status, a.Text, a.Finish, a.Error)
	}
}

// failed demands an error of one of these codes whose message says why.
func (c *call) failed(t *testing.T, says string, codes ...string) {
	t.Helper()
	a := c.wait(t)
	for _, code := range codes {
		if a.Code() == code && strings.Contains(a.Error.Message, says) {
			return
		}
	}
	t.Errorf("want %v that says %q, got status %d, text %.40q, error %+v", codes, says, a.Status, a.Text, a.Error)
}

// queue waits until so many run and wait.
func queue(t *testing.T, d *daemon.Daemon, running, waiting float64) {
	t.Helper()
	if err := daemon.Eventually(patience, func() error {
		h, err := d.Health()
		if err != nil {
			return err
		}
		q, _ := h["queue"].(map[string]any)
		if q["running"] != running || q["waiting"] != waiting {
			return fmt.Errorf("%v running and %v waiting, want %v and %v", q["running"], q["waiting"], running, waiting)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// recovered: no slot, no group and no memory is held, every slot can be had, and
// the daemon says that it is well.
func recovered(t *testing.T, d *daemon.Daemon) {
	t.Helper()
	queue(t, d, 0, 0)
	if err := d.WaitEmpty(5 * time.Second); err != nil {
		t.Error(err)
	}
	calls := make([]*call, slots)
	for i := range calls {
		calls[i] = ask(t, d, "/sleep 500ms all is well", nil)
	}
	for _, c := range calls {
		c.completed(t, "all is well")
	}
	queue(t, d, 0, 0)
	// Room on disk is looked at every few seconds.
	if err := daemon.Eventually(patience, func() error {
		status, h, err := d.Get("/health")
		memory, _ := h["memory"].(map[string]any)
		if err != nil || status != http.StatusOK || h["status"] != "ok" || memory["reserved_bytes"] != 0.0 {
			return fmt.Errorf("health afterwards: %v, status %d, %v", err, status, h)
		}
		if status, _, err := d.Get("/readyz"); err != nil || status != http.StatusOK {
			return fmt.Errorf("readyz afterwards: status %d, %v", status, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
