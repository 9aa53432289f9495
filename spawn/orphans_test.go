package spawn

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/cgroup"
)

// zombies of this process, by /proc.
func zombies(t *testing.T) (pids []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(fields) > 1 && fields[0] == "Z" && fields[1] == fmt.Sprint(os.Getpid()) {
			pids = append(pids, e.Name())
		}
	}
	return pids
}

// Orphans that come to this process are reaped, and no run loses its exit status
// by that.
func TestOrphans_AreReaped(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Options{
		Cgroup: cgroup.Options{Mode: mode(), Name: rootName(), Logger: slog.New(slog.DiscardHandler)}, ReapOrphans: true,
	})
	if err != nil {
		t.Skip("this machine gives us no cgroup v2 tree to make groups in: ", err)
	}
	defer func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0); err != nil {
			t.Error(err)
		}
	}()
	s.EndUnclaimed()
	orphans := `i=0; while [ $i -lt 10 ]; do (sleep 0.0$i & sleep 0.05 & true); i=$((i+1)); done; sleep 0.1; `
	var all []*Process
	for n := range 40 {
		p, err := s.Start(t.Context(), Command{
			ID: fmt.Sprint("orphans-", n), Argv: []string{"/bin/sh", "-c", orphans + fmt.Sprint("exit ", n)},
			Env: []string{"PATH=" + os.Getenv("PATH")}, Dir: "/",
		})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	for n, p := range all {
		awaitProcess(t, p)
		if e := p.Outcome().Exit; !e.Known || e.Code != n {
			t.Errorf("run %d: exit %+v", n, e)
		}
	}
	var left []string
	for late := time.Now().Add(patience); time.Now().Before(late); time.Sleep(10 * time.Millisecond) {
		if left = zombies(t); len(left) == 0 {
			return
		}
	}
	t.Errorf("%d zombies stay", len(left))
}

// A start and an end wake the reaper only where it had to leave a child.
func TestChildren_WakeForLeft(t *testing.T) {
	c := children{known: map[int]struct{}{}, caught: make(chan os.Signal, 1)}
	proc, err := c.fork(func() (*os.Process, error) {
		return os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
	})
	if err != nil {
		t.Fatal(err)
	}
	c.know(1)
	c.forget(1)
	if len(c.caught) > 0 {
		t.Error("woken for nothing")
	}
	if err := unix.Waitid(unix.P_PID, proc.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if c.reapOne(slog.New(slog.DiscardHandler)) {
		t.Error("a supervisor's child was reaped")
	}
	if _, err := proc.Wait(); err != nil {
		t.Fatal(err)
	}
	if c.forget(proc.Pid); len(c.caught) != 1 {
		t.Error("not woken after it had to leave one")
	}
}
