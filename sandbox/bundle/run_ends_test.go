package bundle

import (
	"fmt"
	"os"
	"path/filepath"
	"penstock/internal/masktest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"penstock/internal/procinfo"
	"penstock/sandbox/pid1"
)

func TestRun_Ends(t *testing.T) {
	image := testImage(t)
	write(t, filepath.Join(image, "usr/bin/broken"), "#!/no/such\n", 0o755)
	write(t, filepath.Join(image, "usr/bin/garbage"), "\x7fELF", 0o755)
	write(t, filepath.Join(image, "usr/bin/mode"), "#!/bin/sh\n", 0o644)
	for _, c := range []struct {
		args []string
		cwd  string
		want pid1.Status
	}{
		{args: []string{"true"}, want: pid1.Status{Started: true, Ended: true}},
		{args: []string{"sh", "-c", "exit 137"}, want: pid1.Status{Started: true, Ended: true, Code: 137}},
		{args: []string{"sh", "-c", "kill -9 $$"}, want: pid1.Status{Started: true, Ended: true, Code: -1, Signal: syscall.SIGKILL}},
		{args: []string{"sh", "-c", "kill -SEGV $$"}, want: pid1.Status{Started: true, Ended: true, Code: -1, Signal: syscall.SIGSEGV}},
		{args: []string{"sh", "-c", "sleep 100 & sleep 100 & exit 3"}, want: pid1.Status{Started: true, Ended: true, Code: 3, Survivors: 2}},
		{args: []string{"sh", "-c", "(sleep 0 &); (sleep 0 &); sleep 0.3"}, want: pid1.Status{Started: true, Ended: true}},
		{args: []string{"nosuch"}, want: pid1.Status{Failed: &pid1.Failed{Step: "look for the program", Missing: true}}},
		{args: []string{"mode"}, want: pid1.Status{Failed: &pid1.Failed{Step: "look for the program", Missing: true}}},
		{args: []string{"/usr/bin/nosuch"}, want: pid1.Status{Failed: &pid1.Failed{Step: "execute", Missing: true, Errno: unix.ENOENT}}},
		{args: []string{"/usr/bin/broken"}, want: pid1.Status{Failed: &pid1.Failed{Step: "execute", Missing: true, Errno: unix.ENOENT}}},
		{args: []string{"/usr/bin/garbage"}, want: pid1.Status{Failed: &pid1.Failed{Step: "execute", Missing: true, Errno: unix.ENOEXEC}}},
		{args: []string{"/usr/bin/mode"}, want: pid1.Status{Failed: &pid1.Failed{Step: "execute", Missing: true, Errno: unix.EACCES}}},
		{args: []string{"true"}, cwd: "/no/such", want: pid1.Status{Failed: &pid1.Failed{Step: "enter its directory", Errno: unix.ENOENT}}},
	} {
		s := newScene(t, image, "")
		s.job.Process.Args = c.args
		if c.cwd != "" {
			s.job.Process.Cwd = c.cwd
		}
		r := s.run(t)
		if started := slices.Equal(r.err, []byte{pid1.Started}); started != c.want.Started || !started && len(r.err) > 0 {
			t.Errorf("%q: %q on bubblewrap's stderr", c.args, r.err)
		}
		if r.status.PID == 0 {
			t.Errorf("%q: bubblewrap told no number: %s", c.args, r.told)
		}
		if r.status.Started && r.status.Pool != "/tmp" {
			t.Errorf("%q: its files are in %q", c.args, r.status.Pool)
		}
		r.status.PID, r.status.Pool = 0, ""
		if f := r.status.Failed; f != nil {
			if f.Message == "" {
				t.Errorf("%q: no message", c.args)
			}
			f.Message = ""
		}
		if diff := cmp.Diff(c.want, r.status); diff != "" {
			t.Errorf("%q: %s%s", c.args, diff, r.out)
		}
	}
}

// What ends process 1 itself, or bubblewrap, leaves no word of an end: that is no success.
func TestRun_KilledFromOutside(t *testing.T) {
	s := newScene(t, testImage(t), "sleep 100")
	s.before = func(status string) { signalInside(t, status, syscall.SIGKILL) }
	r := s.run(t)
	if r.status.Ended || !r.status.Started || r.state.Success() {
		t.Errorf("status %s, exit %s", r.told, r.state)
	}
}

func TestRun_Terminated(t *testing.T) {
	s := newScene(t, testImage(t), "trap 'echo term; exit 42' TERM; echo ready; while :; do sleep 0.05; done")
	s.before = func(status string) { signalInside(t, status, syscall.SIGTERM) }
	r := s.run(t)
	if !r.status.Ended || r.status.Code != 42 || r.status.Signal != 0 || !strings.HasSuffix(r.out, "term\n") {
		t.Errorf("%s%s", r.out, r.told)
	}
	s = newScene(t, testImage(t), "exec sleep 100")
	s.before = func(status string) { signalInside(t, status, syscall.SIGTERM) }
	if r := s.run(t); !r.status.Ended || r.status.Signal != syscall.SIGTERM {
		t.Errorf("%s%s", r.out, r.told)
	}
}

// signalInside sends a signal to process 1 when the CLI has come so far that it heeds it.
func signalInside(t *testing.T, path string, sig syscall.Signal) {
	t.Helper()
	pid := started(t, path)
	time.Sleep(300 * time.Millisecond) // the shell's trap
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

// started waits for the CLI and returns the number of process 1.
func started(t *testing.T, path string) int {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := pid1.Read(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if s.Started && s.PID != 0 {
			return s.PID
		}
	}
	t.Fatal("it has not started")
	return 0
}

// With another process 1 the group is populated after the exit in three of four runs.
func TestRun_GroupIsEmptyAtTheExit(t *testing.T) {
	needBubblewrap(t)
	image, mounts := testImage(t), len(mountinfo(t))
	for i := range 200 {
		s := newScene(t, image, "")
		s.job.Process.Args = []string{"true"}
		if i%4 == 0 {
			s.job.Process.Args = []string{"sh", "-c", "sleep 100 & sleep 100 & exit 0"}
		}
		dir := filepath.Join(masktest.CgroupTree(t), fmt.Sprintf("penstock-bundle-%d-%d", os.Getpid(), i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Skipf("needs a cgroup of its own: %v", err)
		}
		group, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		s.group = group
		r := s.run(t)
		events, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
		if err != nil {
			t.Fatal(err)
		}
		group.Close()
		if !strings.Contains(string(events), "populated 0") || !r.status.Ended {
			t.Errorf("run %d: %s%s", i, events, r.told)
		}
		for end := time.Now().Add(time.Minute); os.Remove(dir) != nil && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
	}
	if now := len(mountinfo(t)); now != mounts {
		t.Errorf("%d mounts before, %d after", mounts, now)
	}
}

func mountinfo(t *testing.T) []procinfo.Mount {
	t.Helper()
	mounts, err := procinfo.Host.Mounts()
	if err != nil {
		t.Fatal(err)
	}
	return mounts
}

func TestRun_OOMScoreAndFiles(t *testing.T) {
	s := newScene(t, testImage(t), "cat /proc/self/oom_score_adj; grep '^Max open files' /proc/self/limits | grep -c ' 77 *99 '")
	score := 321
	s.job.Process.OOMScoreAdj = &score
	s.job.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 77, Hard: 99}}
	if diff := cmp.Diff([]string{"321", "1"}, s.script(t)); diff != "" {
		t.Error(diff)
	}
}
