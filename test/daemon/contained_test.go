package daemon

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// zombiesOf are the children that a process has not reaped.
func zombiesOf(parent int) (n int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(f) > 1 && f[0] == "Z" && f[1] == strconv.Itoa(parent) {
			n++
		}
	}
	return n
}

// As process 1 of a container it reaps what its runs orphan, takes no run's exit
// status by that, is found by a handover from inside and outside, and ends.
func TestProcessOne(t *testing.T) {
	if err := exec.Command("unshare", "--pid", "--fork", "--mount-proc", "true").Run(); err != nil {
		t.Skipf("no pid namespace can be made here, which needs root: %v", err)
	}
	// On a starved machine the orphans take longer than small lets "stays" live.
	lasting := strings.Replace(small, `"60s"`, `"10m"`, 1)
	d := Start(t, Options{Contained: true, Config: lasting + "[backends.mine]\nkind = \"exec\"\ncommand = [\"/bin/sh\"]\n"})
	pid := d.Cmd.Process.Pid
	orphans := func() {
		t.Helper()
		const script = "i=0; while [ $i -lt 20 ]; do (sleep 0.05 & sleep 0.1 & true); i=$((i+1)); done; sleep 0.2; "
		var clients sync.WaitGroup
		for n := range 8 {
			clients.Go(func() {
				a, err := d.Chat(t.Context(), Body("mine", fmt.Sprint(script, "echo done; exit ", n%2*3), nil), nil)
				switch {
				case err != nil:
					t.Error(err)
				case n%2 == 0 && strings.TrimSpace(a.Text) != "done":
					t.Errorf("%+v", a)
				case n%2 == 1 && (a.Code() != "cli_error" || !strings.Contains(a.Error.Message, "status 3")):
					t.Errorf("%+v", a.Error)
				}
			})
		}
		clients.Wait()
		if err := Eventually(handoverMax, func() error {
			if n := zombiesOf(pid); n > 0 {
				return fmt.Errorf("%d zombies", n)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	orphans()
	leader := d.background("stays")
	state := filepath.Join(d.Dir, "state")
	for _, c := range []struct {
		from    string
		command []string
		says    string
	}{
		{"inside", []string{"nsenter", "--target", strconv.Itoa(pid), "--pid", "--mount", Binary(t)}, "as process 1\n"},
		{"outside", []string{Binary(t)}, fmt.Sprintf("as process %d\n", pid)},
	} {
		handover := exec.Command(c.command[0], append(c.command[1:], "handover", "--state-dir", state)...)
		handover.Env = []string{"PATH=" + os.Getenv("PATH")} // the lab's own PENSTOCK_ words are no configuration
		out, err := handover.CombinedOutput()
		if err != nil || !strings.HasSuffix(string(out), c.says) {
			t.Errorf("handover from %s: %v: %s", c.from, err, out)
		}
		d.wantAlive("stays", leader)
		orphans()
	}
	// Its leader's exit status is still the run's.
	if err := syscall.Kill(leader, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := Eventually(handoverMax, func() error {
		_, r, err := d.Get("/v1/runs/stays")
		if err != nil || r["state"] != "finished" {
			return errors.Join(err, fmt.Errorf("%v", r["state"]))
		}
		if r["cause"] != "killed" || r["signal"] != "SIGKILL" {
			t.Errorf("told as %v, signal %v", r["cause"], r["signal"])
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
