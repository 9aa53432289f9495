package spawn

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock/outcome"
)

func groupDir(s *Spawner, id string) string {
	found, _ := filepath.Glob(filepath.Join(s.root.Path(), "*", id))
	if len(found) == 1 {
		return found[0]
	}
	return filepath.Join(s.root.Path(), id)
}

// daemonize leaves a process that has forked twice, has its own session, no
// parent, and holds stdout open; its pid is written to stdout.
const daemonize = `(setsid sh -c 'trap "" HUP TERM INT; (echo pid $$; exec sleep 600) & exec sleep 600' &) ; (setsid setsid sh -c 'echo pid $$; exec sleep 600' &); `

func pidLines(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if pid, ok := strings.CutPrefix(line, "pid "); ok {
			all = append(all, strings.TrimSpace(pid))
		}
	}
	return all
}

func TestProcess_EndsWithItsLeader(t *testing.T) {
	s := open(t, false)
	j := newJob(t, "run_tree", daemonize+"while [ $(grep -c pid out) -lt 2 ]; do sleep 0.02; done; exit 5")
	out, o := j.run(s)
	if o.Exit.Code != 5 || o.Reason != "" {
		t.Errorf("exit %+v, reason %q", o.Exit, o.Reason)
	}
	if o.Survived < 3 {
		t.Errorf("survived %d, want the 3 that were left", o.Survived)
	}
	if len(pidLines(out)) != 2 {
		t.Fatalf("script wrote %q", out)
	}
	for _, pid := range pidLines(out) {
		if alive(pid) {
			t.Errorf("%s outlived its run", pid)
		}
	}
}

func TestProcess_End(t *testing.T) {
	for _, soft := range []bool{false, true} {
		t.Run(fmt.Sprintf("soft %v", soft), func(t *testing.T) {
			s := open(t, false)
			j := newJob(t, "run_asked", daemonize+`trap "" TERM; echo deaf; while :; do sleep 0.05; done`)
			j.SoftEnd, j.Grace = soft, 100*time.Millisecond
			p := j.mustStart(s)
			j.says("deaf") // before it a SIGTERM would do
			eventually(t, "children", func() bool { return len(pidLines(j.output())) == 2 })
			p.End(outcome.Timeout)
			awaitProcess(t, p)
			if o := p.Outcome(); o.Exit != killed9 || o.Reason != outcome.Timeout {
				t.Errorf("exit %+v, reason %q", o.Exit, o.Reason)
			}
			for _, pid := range pidLines(j.output()) {
				if alive(pid) {
					t.Errorf("%s outlived its run", pid)
				}
			}
		})
	}
}

func TestProcess_LeaderKilledFromOutside(t *testing.T) {
	s := open(t, false)
	j := newJob(t, "run_outside", "setsid sleep 600 & echo pid $!; exec sleep 600")
	p := j.mustStart(s)
	j.says("pid")
	time.Sleep(time.Millisecond) // what dies sooner is taken for killed by the kernel
	if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitProcess(t, p)
	o := p.Outcome()
	if o.Exit != killed9 || o.Reason != "" || o.Survived != 1 {
		t.Errorf("outcome %+v", o)
	}
	if v := outcome.Decide(outcome.Facts{Outcome: o}); v.Cause != outcome.Killed || !strings.Contains(v.Message, "not by penstock") {
		t.Errorf("verdict %+v", v)
	}
	if alive(pidLines(j.output())[0]) {
		t.Error("its child is left")
	}
}

func TestEscape_CgroupProcs(t *testing.T) {
	s := open(t, false)
	if !s.launcher.State().Works {
		t.Skipf("this machine can't shut the launcher in: %s", s.launcher.State().Escape)
	}
	j := newJob(t, "run_escape", "")
	group := s.root.Path()
	var tries []string
	for _, root := range []string{"", fmt.Sprintf("/proc/%d/root", os.Getpid()), "/proc/1/root"} {
		for _, target := range []string{group + "/cgroup.procs", filepath.Dir(group) + "/cgroup.procs"} {
			tries = append(tries, fmt.Sprintf("echo $$ >%s%s", root, target))
		}
	}
	tries = append(tries,
		"mount -o remount,rw,bind "+filepath.Dir(group),
		"unshare -m mount -o remount,rw,bind "+filepath.Dir(group),
		"unshare -Urm mount -o remount,rw,bind "+filepath.Dir(group),
		"nsenter -t 1 -m true",
		"mkdir "+group+"/escape")
	j.Argv[2] = "for try in '" + strings.Join(tries, "' '") + `'; do (eval "$try") 2>/dev/null && echo "DID $try"; done; cat /proc/self/cgroup`
	out, _ := j.run(s)
	if strings.Contains(out, "DID") {
		t.Errorf("a child could:\n%s", out)
	}
	if at := unifiedPath(out); !strings.HasSuffix(at, "/run_escape") {
		t.Errorf("child ended in %q", at)
	}
}

// A root child that makes itself a user and a cgroup namespace may get a
// writable view of its own group, never of one above.
func TestEscape_OwnNamespaces(t *testing.T) {
	s := open(t, false)
	out, o := newJob(t, "run_ns", `unshare -UrmC sh -c 'mount -t cgroup2 none /mnt 2>/dev/null && mkdir -p /mnt/a/b && echo $$ >/mnt/a/b/cgroup.procs; setsid sleep 600 & cat /proc/self/cgroup' ; grep ^0 /proc/self/cgroup`).run(s)
	if o.Leaked {
		t.Errorf("leaked: %v", o.Err)
	}
	if !strings.HasSuffix(strings.TrimSpace(out), "/run_ns") {
		t.Errorf("output %q", out)
	}
}

func TestProcess_FinishAfterDone(t *testing.T) {
	s := open(t, false)
	j := newJob(t, "run_finish", "echo done; exec sleep 600")
	p := j.mustStart(s)
	j.says("done")
	p.Finish(false)
	awaitProcess(t, p)
	o := p.Outcome()
	if o.Exit != killed9 || o.Reason != "" {
		t.Errorf("outcome %+v", o)
	}
	if v := outcome.Decide(outcome.Facts{Outcome: o, Terminal: &outcome.Terminal{Done: true}}); v.Cause != outcome.Completed {
		t.Errorf("verdict %+v", v)
	}
}

func TestProcess_Usage(t *testing.T) {
	s := open(t, false)
	j := newJob(t, "run_usage", "sleep 600 & sleep 600 & echo up; wait")
	p := j.mustStart(s)
	j.says("up")
	u, err := p.Usage()
	if err != nil || u.CPUUsec == nil {
		t.Errorf("usage %+v, %v", u, err)
	}
	all, err := s.Usage()
	if err != nil || all.Processes != 3 {
		t.Errorf("usage of all runs %+v, %v", all, err)
	}
	p.End(outcome.Cancelled)
	awaitProcess(t, p)
	if _, err := p.Usage(); err == nil {
		t.Error("usage of a group that is gone")
	}
}
