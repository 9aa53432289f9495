package spawn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"penstock/cgroup"
	"penstock/internal/imagetest"
	"penstock/outcome"
	"penstock/sandbox/bundle"
)

// process1 is a program that calls pid1.Main, with its arguments: this test binary itself
// where it is static, as in the lab, or one built once for all tests.
var process1 = sync.OnceValues(func() ([]string, error) {
	if self, err := os.Open("/proc/self/exe"); err == nil {
		defer self.Close()
		if checkStatic(self) == nil {
			return []string{"/proc/self/exe", playProcess1}, nil
		}
	}
	dir, err := os.MkdirTemp("", "penstock-pid1-")
	if err != nil {
		return nil, err
	}
	process1Dir = dir
	c := exec.Command("go", "build", "-o", filepath.Join(dir, "pid1"), "../cmd/process1")
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return []string{filepath.Join(dir, "pid1")}, nil
})

// process1Dir is to be removed after all tests.
var process1Dir string

const playProcess1 = "play-process1"

// runtimeOf is this host's, or the test is skipped.
func runtimeOf(t testing.TB) *Runtime {
	t.Helper()
	program, err := process1()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(program[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	r, err := OpenRuntime(t.Context(), "", f, program[1:]...)
	if err == nil {
		err = r.Probe(t.Context(), false)
	}
	if err != nil {
		if lab() {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return r
}

func openWithImages(t testing.TB) *Spawner {
	t.Helper()
	runtime := runtimeOf(t)
	log := slog.New(slog.NewTextHandler(logTo{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := Open(context.Background(), Options{Cgroup: cgroup.Options{Mode: mode(), Name: rootName(), Logger: log}, Runtime: runtime, Logger: log})
	if errors.Is(err, cgroup.ErrUnsupported) && !lab() {
		t.Skipf("this machine has no cgroup v2 tree to make groups in: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// inImageJob is a job of a script in an image.
func inImageJob(t testing.TB, root, id, text string) *job {
	t.Helper()
	j := newJob(t, id, text)
	j.Argv, j.Env, j.Dir = []string{"sh", "-c", text}, []string{"PATH=/bin"}, "/"
	status, err := os.OpenFile(filepath.Join(t.TempDir(), "status"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { status.Close() })
	j.Image = &Image{Root: bundle.Options{Image: root, Home: "/home/agent", Hostname: "test", Writable: 1 << 20}, Status: status}
	return j
}

func TestImage_Ends(t *testing.T) {
	s, root := openWithImages(t), imagetest.Root(t)
	for text, want := range map[string]outcome.Outcome{
		"exit 0":                     {Exit: exited0},
		"exit 137":                   {Exit: outcome.Exit{Known: true, Code: 137}},
		"kill -9 $$":                 {Exit: killed9},
		"kill -SEGV $$":              {Exit: outcome.Exit{Known: true, Code: -1, Signal: syscall.SIGSEGV}},
		"sleep 99 & sleep 99 & exit": {Exit: exited0, Survived: 2},
	} {
		j := inImageJob(t, root, "ends", text)
		p, err := j.start(s)
		if err != nil {
			t.Fatal(err)
		}
		await(t, text, p.Gone())
		got := p.Outcome()
		if got.Exit != want.Exit || got.Survived != want.Survived || got.Err != nil {
			t.Errorf("%s: %+v, %d survived, %v", text, got.Exit, got.Survived, got.Err)
		}
	}
}

func TestImage_SoftEnd(t *testing.T) {
	s := openWithImages(t)
	j := inImageJob(t, imagetest.Root(t), "soft", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done")
	j.SoftEnd, j.Grace = true, 20*time.Second
	p, err := j.start(s)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the shell's trap", func() bool { return j.output() == "up\n" })
	p.End(outcome.Cancelled)
	await(t, "its end", p.Gone())
	if got := p.Outcome(); got.Exit != (outcome.Exit{Known: true, Code: 3}) || got.Reason != outcome.Cancelled || j.output() != "up\nbye\n" {
		t.Errorf("%+v, %q", got, j.output())
	}
}

func TestImage_HardEnd(t *testing.T) {
	s := openWithImages(t)
	j := inImageJob(t, imagetest.Root(t), "hard", "trap '' TERM; sleep 99")
	p, err := j.start(s)
	if err != nil {
		t.Fatal(err)
	}
	p.End(outcome.Timeout)
	await(t, "its end", p.Gone())
	if got := p.Outcome(); got.Exit != killed9 || got.Reason != outcome.Timeout {
		t.Errorf("%+v", got)
	}
}

func TestImage_NotStarted(t *testing.T) {
	s, root := openWithImages(t), imagetest.Root(t)
	for _, c := range []struct {
		change func(*job)
		cause  outcome.Cause
		why    string
	}{
		{func(j *job) { j.Argv = []string{"nosuch"} }, outcome.CLIMissing, "not on PATH /bin"},
		{func(j *job) { j.Argv = []string{"/bin/nosuch"} }, outcome.CLIMissing, "execute: "},
		{func(j *job) { j.Dir = "/nosuch" }, outcome.StartFailed, "enter its directory: "},
		{func(j *job) { j.Image.Root.Image = "/nosuch" }, outcome.StartFailed, "no such file"},
		{func(j *job) { j.Image.Root.Writable = 0 }, outcome.StartFailed, "no size"},
		{func(j *job) { j.Image.ReadonlyPaths = []string{"/proc/1/stat/x"} }, outcome.StartFailed, "cover /proc: "},
	} {
		j := inImageJob(t, root, "unstarted", "exit 0")
		c.change(j)
		_, err := j.start(s)
		var failed *StartError
		if !errors.As(err, &failed) || failed.Cause != c.cause || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%v, want %s: %s", err, c.cause, c.why)
		}
		if _, err := os.Stat(filepath.Join(s.root.Path(), j.ID)); err == nil {
			t.Error("its group is still there")
		}
	}
}

func TestImage_NoRuntime(t *testing.T) {
	s := open(t, false)
	_, err := inImageJob(t, t.TempDir(), "none", "exit 0").start(s)
	var failed *StartError
	if !errors.As(err, &failed) || failed.Cause != outcome.StartFailed || !errors.Is(err, errNoRuntime) {
		t.Errorf("without a runtime: %v", err)
	}
}

// Nothing of the host's, nor of the start, is in the CLI's reach.
func TestImage_Cage(t *testing.T) {
	s := openWithImages(t)
	j := inImageJob(t, imagetest.Root(t), "cage", "echo /*; echo /proc/self/fd/*; for p in /proc/[0-9]*; do echo $p; done; cat /proc/self/oom_score_adj; echo $GOMAXPROCS; cat /proc/self/cgroup; (echo x > /proc/sys/kernel/hostname) 2>/dev/null || echo closed")
	p, err := j.start(s)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "its end", p.Gone())
	lines := strings.Split(strings.TrimSpace(j.output()), "\n")
	if len(lines) < 6 || lines[0] != "/bin /dev /etc /home /proc /tmp /var" || len(strings.Fields(lines[1])) > 5 {
		t.Errorf("%q", lines)
	}
	if i := slices.Index(lines, "/proc/1"); i < 0 || lines[len(lines)-1] != "closed" {
		t.Errorf("%q", lines)
	}
}

// Process 1 holds the image, whatever becomes of the daemon.
func TestImage_Lock(t *testing.T) {
	s := openWithImages(t)
	j := inImageJob(t, imagetest.Root(t), "lock", "echo up; sleep 99")
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := os.Create(path)
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_SH)
	}
	if err != nil {
		t.Fatal(err)
	}
	j.Image.Lock = lock
	p, err := j.start(s)
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
	other, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := syscall.Flock(int(other.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != syscall.EWOULDBLOCK {
		t.Errorf("while it runs: %v", err)
	}
	p.End(outcome.Cancelled)
	await(t, "its end", p.Gone())
	if err := syscall.Flock(int(other.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Errorf("after its end: %v", err)
	}
}

// No command line tells what the CLI has, nor the environment of what is beside it.
func TestImage_NothingSecretOutside(t *testing.T) {
	s := openWithImages(t)
	j := inImageJob(t, imagetest.Root(t), "secret", "echo up; sleep 99 & wait")
	j.Env = append(j.Env, "KEY=hunter2")
	p, err := j.start(s)
	if err != nil {
		t.Fatal(err)
	}
	pids, err := p.group.Procs()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, pid := range pids {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue
		}
		if strings.Contains(string(line), "hunter2") {
			t.Errorf("command line %q", line)
		}
		if !strings.Contains(string(line), "/proc/self/fd/") {
			continue // the CLI's own
		}
		seen++
		if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err == nil && strings.Contains(string(env), "hunter2") {
			t.Errorf("environment of %q", line)
		}
	}
	if seen != 2 {
		t.Errorf("%d processes of ours beside the CLI, want bubblewrap and process 1", seen)
	}
	p.End(outcome.Cancelled)
	await(t, "its end", p.Gone())
}

// Neither in what is told of a run nor in what it may have do our own processes count.
func TestImage_OwnTasksDontCount(t *testing.T) {
	s := openWithImages(t)
	j := inImageJob(t, imagetest.Root(t), "tasks", "echo up; sleep 99 & sleep 99 & wait")
	j.Limits = cgroup.Resources(cgroup.Limits{PidsMax: 7})
	p, err := j.start(s)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "its processes", func() bool {
		procs, err := p.group.Procs()
		return err == nil && len(procs) == 5 // bubblewrap, process 1, the shell and two more
	})
	u, err := p.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if u.Pids != nil && *u.Pids > 4 { // the runtime of process 1 may have made a thread since
		t.Errorf("%d tasks", *u.Pids)
	}
	if n, ok := p.PidsMax(); ok && n != 7 {
		t.Errorf("it may have %d", n)
	}
	p.End(outcome.Cancelled)
	await(t, "its end", p.Gone())
	if r := p.Outcome().Receipt; r.PidsMax != nil && *r.PidsMax != 7 || r.PidsPeak != nil && *r.PidsPeak > 5 {
		t.Errorf("%v %v", r.PidsMax, r.PidsPeak)
	}
}

// What was counted before there was a CLI tells nothing of it: unknown is not none.
func TestImageGroup_PidsPeak(t *testing.T) {
	for counted, want := range map[uint64]*uint64{5: nil, 7: nil, 9: num(2)} {
		r, err := (&imageGroup{group: counting{peak: counted}, own: 7}).Receipt()
		if err != nil || (r.PidsPeak == nil) != (want == nil) || want != nil && *r.PidsPeak != *want {
			t.Errorf("%d counted: %v, %v", counted, r.PidsPeak, err)
		}
	}
}

type counting struct {
	group
	peak uint64
}

func (c counting) Receipt() (cgroup.Receipt, error) { return cgroup.Receipt{PidsPeak: &c.peak}, nil }

func TestWithOwnTasks(t *testing.T) {
	l := cgroup.Resources(cgroup.Limits{PidsMax: 7, MemoryMax: 1 << 30})
	more := withOwnTasks(l)
	if *more.Pids.Limit != 7+ownTasks || *l.Pids.Limit != 7 || more.Memory != l.Memory {
		t.Errorf("%d, of %d", *more.Pids.Limit, *l.Pids.Limit)
	}
	if none := cgroup.Resources(cgroup.Limits{MemoryMax: 1 << 30}); withOwnTasks(none) != none || withOwnTasks(nil) != nil {
		t.Error("what has no limit got one")
	}
	if less(nil, 3) != nil || *less(num(2), 3) != 0 || *less(num(5), 3) != 2 {
		t.Error("less")
	}
}

// bubblewrap's word alone is none: it knows how process 1 has ended.
func TestImageLeader_NoWord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status")
	if err := os.WriteFile(path, []byte("{ \"child-pid\": 1 }\n{\"started\":2}\n{ \"exit-code\": 0 }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for said, want := range map[outcome.Exit]outcome.Exit{
		exited0:                  {Code: -1},
		{Known: true, Code: 137}: killed9,
		{Known: true, Code: 2}:   {Code: -1}, // of a Go program that has got SIGQUIT
		killed9:                  killed9,
		{Code: -1}:               {Code: -1},
	} {
		l := &imageLeader{leader: ended{said}, status: path}
		if got, err := l.reap(); err != nil || got != want {
			t.Errorf("%+v: %+v, %v, want %+v", said, got, err, want)
		}
	}
}

type ended struct{ exit outcome.Exit }

func (ended) pid() int                      { return 1 }
func (ended) signal(syscall.Signal) error   { return os.ErrProcessDone }
func (ended) await(context.Context) error   { return nil }
func (e ended) reap() (outcome.Exit, error) { return e.exit, nil }

// Beside BenchmarkRunCold: what an image costs.
func BenchmarkImage(b *testing.B) {
	s, root := openWithImages(b), imagetest.Root(b)
	for i := range b.N {
		j := inImageJob(b, root, fmt.Sprintf("bench-%d", i), "")
		j.Argv = []string{"true"}
		p, err := j.start(s)
		if err != nil {
			b.Fatal(err)
		}
		<-p.Gone()
	}
}
