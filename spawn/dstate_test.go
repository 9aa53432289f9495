package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"penstock/cgroup"
	"penstock/internal/disktest"
	"penstock/outcome"
)

// stuck starts a run whose child sleeps in state D until the disk thaws.
func stuck(t *testing.T, s *Spawner, d *disktest.Disk, id string) *Process {
	t.Helper()
	d.Freeze()
	j := newJob(t, id, "echo up; echo x >"+d.Dir+"/file; echo wrote")
	p := j.mustStart(s)
	j.says("up")
	eventually(t, "a process in state D", func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
		return err == nil && strings.Contains(string(text), ") D ")
	})
	p.bound = 300 * time.Millisecond // read only after End
	return p
}

func TestProcess_Unkillable(t *testing.T) {
	d := disktest.New(t)
	s := open(t, false)
	p := stuck(t, s, d, "run_stuck")
	p.End(outcome.Timeout)
	await(t, "end", p.Ended())
	o := p.Outcome()
	if !o.Leaked || !errors.Is(o.Err, cgroup.ErrBusy) || o.Reason != outcome.Timeout || !strings.Contains(o.Err.Error(), fmt.Sprint(p.PID())) {
		t.Errorf("leaked %v, reason %q, err %v: want it given up with its pid named", o.Leaked, o.Reason, o.Err)
	}
	if o.Receipt.CPUUserUsec == nil {
		t.Errorf("no receipt of a group that is still there: %+v", o.Receipt)
	}
	if v := outcome.Decide(outcome.Facts{Outcome: o}); v.Cause != outcome.Timeout {
		t.Errorf("verdict %+v", v)
	}
	if n := s.Isolation().LeakedGroups; n != 1 {
		t.Errorf("%d leaked groups, want 1", n)
	}
	select {
	case <-p.Gone():
		t.Fatal("gone while its process lives")
	case <-time.After(time.Second):
	}
	// The others are not in its way.
	if _, o := newJob(t, "run_beside", "exit 0").run(s); o.Exit != exited0 {
		t.Errorf("a run beside it: %+v", o)
	}
	d.Thaw()
	await(t, "removal after the thaw", p.Gone())
	await(t, "exit", p.Exited())
	if i := s.Isolation(); i.LeakedGroups != 0 || i.RemoveRetries == 0 {
		t.Errorf("%d leaked groups after %d retries, want none after some", i.LeakedGroups, i.RemoveRetries)
	}
}

func TestClose_UnkillableProcess(t *testing.T) {
	d := disktest.New(t)
	s := open(t, false)
	p := stuck(t, s, d, "run_stuck")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := s.Close(ctx) // which is before the thaw
	if !errors.Is(err, cgroup.ErrBusy) || !strings.Contains(err.Error(), "run_stuck") || !strings.Contains(err.Error(), fmt.Sprint(p.PID())) {
		t.Errorf("close: %v: want the run and its process named", err)
	}
	d.Thaw()
	await(t, "exit", p.Exited())
	// The next daemon finds it.
	if n := open(t, false).Swept(); n.Groups != 1 || len(n.Left) != 0 {
		t.Errorf("swept %+v, want the group that was left", n)
	}
}
