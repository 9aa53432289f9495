package hardship

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/test/daemon"
)

const noRoom = "no space left on device"

// The disk fills up under live runs: those that write no more go on, those that
// do hear why they failed, new ones are refused with the reason, and with room
// again all is well. What a client was told is what the next daemon knows.
func TestFullDisk(t *testing.T) {
	r := mount(t, 4)
	d := start(t, r.dir, "")
	still := ask(t, d, "/sleep 5 words", nil)
	const noisy = 3
	var spewing []*call
	for range noisy {
		spewing = append(spewing, ask(t, d, "/sleep 4 /spew 3MiB the end", nil))
	}
	queue(t, d, 1+noisy, 0)
	spoken(t, r.dir, 1+noisy)
	free := r.fill()

	// Before any of them writes: nothing new can be started.
	begun := time.Now()
	refused := ask(t, d, "never", nil)
	refused.failed(t, noRoom, "start_failed")
	if a := refused.wait(t); a.Status != http.StatusServiceUnavailable {
		t.Errorf("refused with status %d, want 503", a.Status)
	}
	unstreamed, err := d.Chat(context.Background(), daemon.Body("demo", "never", nil), nil)
	if err != nil || unstreamed.Status != http.StatusServiceUnavailable || unstreamed.Code() != "start_failed" {
		t.Errorf("not streamed: %v %+v", err, unstreamed)
	}
	t.Logf("refused after %v: %+v", time.Since(begun), unstreamed.Error)
	for _, c := range spewing {
		c.failed(t, "state directory: "+noRoom, "cli_error")
	}
	still.completed(t, "words")
	queue(t, d, 0, 0)
	if left, _ := filepath.Glob(filepath.Join(r.dir, "state", "runs", "*")); len(left) != 1+noisy {
		t.Errorf("directories of runs that were never started are left: %v", left)
	}

	free()
	recovered(t, d)
	told := map[string]string{still.answer.Run: "completed"}
	for _, c := range spewing {
		told[c.answer.Run] = "cli_error"
	}
	for id, cause := range told {
		if _, run, err := d.Get("/v1/runs/" + id); err != nil || run["cause"] != cause {
			t.Errorf("run %s: %v, cause %v, was told %s", id, err, run["cause"], cause)
		}
	}
	d.Stop()
	next := d.Restart(t)
	for id, cause := range told {
		if _, run, err := next.Get("/v1/runs/" + id); err != nil || run["cause"] != cause {
			t.Errorf("the next daemon: run %s: %v, cause %v, was told %s", id, err, run["cause"], cause)
		}
	}
	recovered(t, next)
}

// A daemon is started on a full disk: it says so and ends; with room it serves.
func TestFullDiskAtStart(t *testing.T) {
	r := mount(t, 1)
	free := r.fill()
	d := daemon.Launch(t, daemon.Options{Bare: true, Config: fmt.Sprintf("state_dir = %q\n", filepath.Join(r.dir, "state")) + config})
	select {
	case <-d.Exited():
	case <-time.After(patience):
		t.Fatalf("still there\n%s", d.Log())
	}
	if d.ExitCode() != 1 || !strings.Contains(d.Log(), noRoom) || !strings.Contains(d.Log(), "state") {
		t.Errorf("exit status %d, log: %s", d.ExitCode(), d.Log())
	}
	t.Log(strings.TrimSpace(d.Log()))
	free()
	next := d.Restart(t)
	recovered(t, next)
}

// spoken waits until so many CLIs have begun their output.
func spoken(t *testing.T, dir string, n int) {
	t.Helper()
	if err := daemon.Eventually(patience, func() error {
		begun := 0
		spools, _ := filepath.Glob(filepath.Join(dir, "state", "runs", "*", "spool"))
		for _, s := range spools {
			if info, err := os.Stat(s); err == nil && info.Size() > 0 {
				begun++
			}
		}
		if begun < n {
			return fmt.Errorf("%d CLIs have spoken, want %d", begun, n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// A program that doesn't care that its writes fail has not answered, whether the
// disk is full of its own output, of its own scratch, or of somebody else's.
func TestFullDiskIsNoSuccess(t *testing.T) {
	r := mount(t, 4)
	d := start(t, r.dir, "[backends.sh]\nkind = \"exec\"\ncommand = [\"/bin/sh\"]\n")
	run := func(script string) *daemon.Answer {
		a, err := d.Chat(context.Background(), daemon.Body("sh", script, nil), nil)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := run("echo room"); a.Finish != "stop" || a.Text != "room\n" {
		t.Fatalf("with room: %+v", a)
	}
	for name, script := range map[string]string{
		"its output":  "head -c 9000000 /dev/zero | tr '\\0' y; exit 0",
		"its scratch": "echo one; head -c 9000000 /dev/zero >$TMPDIR/x; seq 10000; exit 0",
		// It is gone again when the run ends; the daemon has looked meanwhile.
		"for a while": "echo one; head -c 9000000 /dev/zero >$TMPDIR/x; seq 10000; sleep 3; rm $TMPDIR/x; echo two; exit 0",
	} {
		a := run(script)
		if a.Code() != "cli_error" || !strings.Contains(a.Error.Message, "state directory: "+noRoom) {
			t.Errorf("%s: status %d, finish %q, %d bytes, error %+v", name, a.Status, a.Finish, len(a.Text), a.Error)
		}
		queue(t, d, 0, 0)
	}
	recovered(t, d)
}

// A durable run that alone holds the full disk goes where the next start needs the room, and
// the daemon after this one knows that it was there: its request is not run again.
func TestFullDiskOfDurableRuns(t *testing.T) {
	r := mount(t, 4)
	ballast := filepath.Join(r.dir, "ballast") // a daemon isn't started on a full disk
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	d := start(t, r.dir, "[backends.sh]\nkind = \"exec\"\ncommand = [\"/bin/sh\"]\n")
	body := daemon.Body("sh", "head -c 9000000 /dev/zero | tr '\\0' y; exit 0", map[string]any{"stream": true})
	again := func(d *daemon.Daemon, id string) *daemon.Answer {
		a, err := d.Durable(context.Background(), id, "", body, nil)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	const runs = 3
	for i := range runs {
		id := fmt.Sprint("fills-", i)
		if a := again(d, id); a.Code() != "cli_error" {
			t.Errorf("%s: status %d, finish %q, error %+v", id, a.Status, a.Finish, a.Error)
		}
		queue(t, d, 0, 0)
	}
	if err := d.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-d.Exited()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	next := d.Restart(t)
	for i := range runs - 1 {
		if a := again(next, fmt.Sprint("fills-", i)); a.Status != http.StatusGone {
			t.Errorf("fills-%d after a restart: status %d, want %d; error %+v", i, a.Status, http.StatusGone, a.Error)
		}
	}
	recovered(t, next)
}
