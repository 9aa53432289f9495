package spawn

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"penstock/internal/masktest"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock/cgroup"
	"penstock/outcome"
)

// enforcer is what must hold memory and pids on this machine.
func enforcer() cgroup.Enforcer {
	if lab() {
		return cgroup.Kernel
	}
	return cgroup.Watch
}

func TestLimits_MemoryEndsTheWholeTree(t *testing.T) {
	s := open(t, false)
	if by := s.Enforced().Memory; by != enforcer() && lab() {
		t.Fatalf("memory is held by %q", by)
	}
	j := newJob(t, "run_memory", "setsid sleep 600 & echo pid $!; tail /dev/zero; echo survived; exec sleep 600")
	j.Limits = cgroup.Resources(cgroup.Limits{MemoryMax: 64 << 20})
	out, o := j.run(s)
	if strings.Contains(out, "survived") || alive(pidLines(out)[0]) {
		t.Errorf("the tree outlived its memory limit: %q", out)
	}
	v := outcome.Decide(outcome.Facts{Outcome: o, Limits: j.Limits})
	if v.Cause != outcome.MemoryLimit || !strings.Contains(v.Message, "64 MiB") || !strings.Contains(v.Message, "peak") {
		t.Errorf("verdict %+v of %+v", v, o.Receipt)
	}
}

func TestLimits_PidsIsNamed(t *testing.T) {
	s := open(t, false)
	j := newJob(t, "run_pids", "i=0; while [ $i -lt 64 ]; do sleep 600 & i=$((i+1)); done; wait")
	j.Limits = cgroup.Resources(cgroup.Limits{PidsMax: 16})
	_, o := j.run(s)
	v := outcome.Decide(outcome.Facts{Outcome: o, Limits: j.Limits})
	if v.Cause != outcome.PidsLimit || !strings.Contains(v.Message, "16") {
		t.Errorf("verdict %+v of %+v, exit %+v", v, o.Receipt, o.Exit)
	}
}

func TestLimits_UnheldIsARefusal(t *testing.T) {
	s := open(t, false)
	if s.Enforced().CPU == cgroup.Kernel {
		// Here it is held, and only after the start. A guest that itself gets too
		// little of its host to pass the limit tries again.
		for try := range 10 {
			j := newJob(t, fmt.Sprintf("run_cpu_%d", try), "i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done")
			j.Limits = cgroup.Resources(cgroup.Limits{CPUQuota: time.Duration(20-2*try) * time.Millisecond, CPUPeriod: 100 * time.Millisecond})
			if _, o := j.run(s); o.Receipt.CPUThrottledUsec != nil && *o.Receipt.CPUThrottledUsec > 0 {
				return
			}
		}
		t.Error("a spinner under a cpu.max of 20 % and less was never throttled")
		return
	}
	j := newJob(t, "run_cpu", "exit 0")
	j.Limits = cgroup.Resources(cgroup.Limits{CPUQuota: 20 * time.Millisecond, CPUPeriod: 100 * time.Millisecond})
	var refused *StartError
	if _, err := j.start(s); !errors.As(err, &refused) || refused.Cause != outcome.StartFailed {
		t.Errorf("got %v", err)
	}
}

// What can be set only after the start, and then is not, ends what was started.
func TestLimits_UnwrittenCPUIsARefusal(t *testing.T) {
	s := open(t, false)
	if s.Enforced().CPU != cgroup.Kernel {
		t.Skip("this machine gives groups no cpu controller")
	}
	if err := os.WriteFile(filepath.Join(s.root.Path(), "runs", "cgroup.subtree_control"), []byte("-cpu"), 0); err != nil {
		t.Fatal(err)
	}
	j := newJob(t, "run_unheld", "sleep 600")
	j.Limits = cgroup.Resources(cgroup.Limits{CPUWeight: 50})
	var refused *StartError
	if _, err := j.start(s); !errors.As(err, &refused) || refused.Cause != outcome.StartFailed || !strings.Contains(err.Error(), "cpu.weight") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(groupDir(s, j.ID)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("group left behind: %v", err)
	}
}

// A program that ends before its CPU limits are written has not failed for that.
func TestLimits_QuickProgramUnderCPU(t *testing.T) {
	s := open(t, false)
	if s.Enforced().CPU != cgroup.Kernel {
		t.Skip("this machine gives groups no cpu controller")
	}
	for i := range 100 {
		j := newJob(t, fmt.Sprintf("run_quick_%d", i), "")
		j.Argv = []string{look(t, "true")}
		j.Limits = cgroup.Resources(cgroup.Limits{CPUWeight: 50, CPUQuota: 90 * time.Millisecond})
		if _, o := j.run(s); o.Exit != exited0 || o.Receipt.CPUUserUsec == nil {
			t.Fatalf("outcome %+v", o)
		}
	}
}

// A run that may lower its OOM score to -1000 can't be killed by its own limit: it
// would stand at the cap, a processor busy, until its deadline, and the daemon be
// the victim when the host is short.
func TestLimits_NoRunIsImmune(t *testing.T) {
	s := open(t, false)
	if s.Enforced().Memory != cgroup.Kernel {
		t.Skip("this machine gives groups no memory controller")
	}
	// Only once the daemon has written the score it wants.
	j := newJob(t, "run_immune", "until grep -q ^[1-9] /proc/$$/oom_score_adj; do sleep 0.05; done; echo -1000 >/proc/$$/oom_score_adj; tail /dev/zero; echo survived")
	j.Limits = cgroup.Resources(cgroup.Limits{MemoryMax: 64 << 20})
	out, o := j.run(s)
	if v := outcome.Decide(outcome.Facts{Outcome: o, Limits: j.Limits}); v.Cause != outcome.MemoryLimit || strings.Contains(out, "survived") {
		t.Errorf("verdict %+v, output %q", v, out)
	}
}

func TestStart_GroupIsUsedOnce(t *testing.T) {
	s := open(t, false)
	p := newJob(t, "run_once", "exec sleep 600").mustStart(s)
	if _, err := newJob(t, "run_once", "exit 0").start(s); err == nil {
		t.Error("a second tree was started in a live group")
	}
	p.End(outcome.Cancelled)
	awaitProcess(t, p)
}

func TestOpen_EndsLeftovers(t *testing.T) {
	needRoot(t)
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(masktest.CgroupTree(t), unifiedPath(string(own)), rootName(), "runs", "run_left")
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(left)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	orphan := exec.CommandContext(t.Context(), look(t, "sleep"), "600")
	orphan.SysProcAttr = &syscall.SysProcAttr{Setsid: true, UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	waited := false
	t.Cleanup(func() { // of a test that ended before its end
		if !waited {
			_ = errors.Join(orphan.Process.Kill(), orphan.Wait(), os.Remove(left), os.Remove(filepath.Dir(left)), os.Remove(filepath.Dir(filepath.Dir(left))))
		}
	})
	s := open(t, false)
	if n := s.Swept(); n.Groups != 1 || n.Processes != 1 || len(n.Left) != 0 {
		t.Errorf("swept %+v", n)
	}
	var exit *exec.ExitError
	waited = true
	if err := orphan.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the orphan ended with %v", err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", left, err)
	}
}
