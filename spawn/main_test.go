package spawn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/cgroup"
	"penstock/outcome"
	"penstock/sandbox"
	"penstock/sandbox/pid1"
)

func num(n uint64) *uint64 { return &n }

// Ends of a leader.
var (
	exited0 = outcome.Exit{Known: true}
	killed9 = outcome.Exit{Known: true, Code: -1, Signal: syscall.SIGKILL}
)

// TestMain lets the test binary be a hostile child (see hostile_test.go) or
// another daemon (adopt_test.go), or process 1 (image_test.go).
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == playProcess1 {
		os.Exit(pid1.Main())
	}
	if len(os.Args) > 2 && os.Args[1] == "play-daemon" {
		os.Exit(playDaemon(os.Args[2], os.Args[3:]))
	}
	if len(os.Args) > 5 && os.Args[1] == playImageDaemon {
		os.Exit(imageDaemon(os.Args[2], os.Args[3], os.Args[4], strings.Fields(os.Args[5]), os.Args[6:]))
	}
	reexecAgain() // does not return in a program of that test's
	if does := os.Getenv(hostileVariable); does != "" {
		os.Exit(hostile(does))
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if process1Dir != "" {
			_ = os.RemoveAll(process1Dir)
		}
		os.Exit(code)
	}))
}

// lab says that the machine must be able to do everything: no test may skip.
func lab() bool { return os.Getenv("PENSTOCK_LAB") == "1" }

func mode() cgroup.Mode {
	if lab() {
		return cgroup.Strict
	}
	return cgroup.Available
}

// rootName is this test process's own.
func rootName() string { return fmt.Sprintf("penstock-spawn-test-%d", os.Getpid()) }

// open takes a root of the test's own, and sees it left as it was found.
func open(t testing.TB, selfTest bool) *Spawner {
	t.Helper()
	return openIn(t, mode(), selfTest)
}

func openIn(t testing.TB, mode cgroup.Mode, selfTest bool) *Spawner {
	t.Helper()
	return openHiding(t, mode, selfTest, sandbox.MaskPaths{})
}

func openHiding(t testing.TB, mode cgroup.Mode, selfTest bool, hide sandbox.MaskPaths) *Spawner {
	t.Helper()
	log := slog.New(slog.NewTextHandler(logTo{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := Open(context.Background(), Options{
		Cgroup: cgroup.Options{
			Mode: mode, Name: rootName(), Logger: log,
		},
		SelfTest: selfTest, Mask: hide, Logger: log,
	})
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
		if _, err := os.Stat(s.root.Path()); !errors.Is(err, os.ErrNotExist) && s.root.Source() == "subtree" {
			t.Errorf("%s is still there after Close: %v", s.root.Path(), err)
		}
	})
	return s
}

type logTo struct{ t testing.TB }

func (l logTo) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// job is one run of a script with its output in files.
type job struct {
	Command
	t   testing.TB
	out string
}

func newJob(t testing.TB, id, text string) *job {
	t.Helper()
	dir := t.TempDir()
	j := &job{t: t, out: filepath.Join(dir, "out")}
	j.Command = Command{
		ID: id, Argv: []string{"/bin/sh", "-c", text}, Dir: dir,
		Env: []string{"PATH=" + os.Getenv("PATH")},
	}
	return j
}

func (j *job) start(s *Spawner) (*Process, error) {
	out, err := os.OpenFile(j.out, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	j.Stdout, j.Stderr = out, out
	return s.Start(context.Background(), j.Command)
}

func (j *job) mustStart(s *Spawner) *Process {
	j.t.Helper()
	p, err := j.start(s)
	if err != nil {
		j.t.Fatal(err)
	}
	return p
}

// run sees the script to its end and returns what it wrote.
func (j *job) run(s *Spawner) (string, outcome.Outcome) {
	j.t.Helper()
	p := j.mustStart(s)
	awaitProcess(j.t, p)
	return j.output(), p.Outcome()
}

func (j *job) output() string {
	j.t.Helper()
	text, err := os.ReadFile(j.out)
	if err != nil {
		j.t.Fatal(err)
	}
	return string(text)
}

// says waits until the script has written a text.
func (j *job) says(want string) {
	j.t.Helper()
	eventually(j.t, "output "+want, func() bool { return strings.Contains(j.output(), want) })
}

func awaitProcess(t testing.TB, p *Process) {
	t.Helper()
	for what, c := range map[string]<-chan struct{}{"exit": p.Exited(), "end": p.Ended(), "gone": p.Gone()} {
		select {
		case <-c:
		case <-time.After(patience):
			t.Fatalf("%s: not within %s: %+v", what, patience, p.Outcome())
		}
	}
	if o := p.Outcome(); o.Err != nil || o.Leaked {
		t.Errorf("teardown: leaked %v, %v", o.Leaked, o.Err)
	}
}

// eventually polls for what another process does; it has no event to wait for.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// alive tells whether a pid still runs (a zombie doesn't).
func alive(pid string) bool {
	text, err := os.ReadFile("/proc/" + strings.TrimSpace(pid) + "/stat")
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}

func openFDs(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestOpen_SelfTestLeavesNothing(t *testing.T) {
	s := open(t, true)
	i := s.Isolation()
	if i.SelfTest != "passed" || i.Mode != mode() || i.Kill != cgroup.Kernel || i.Root != s.root.Path() || i.LeakedGroups != 0 {
		t.Errorf("isolation %+v", i)
	}
	if os.Geteuid() == 0 && i.Escape != rootEscape() {
		t.Errorf("escape proofing of root: %q", i.Escape)
	}
	if lab() && (i.Memory != cgroup.Kernel || i.Pids != cgroup.Kernel) {
		t.Errorf("the lab's kernel enforces nothing: %+v", i)
	}
	if n := s.Swept(); n.Groups != 0 {
		t.Errorf("swept %+v in a fresh root", n)
	}
}

func TestStart_ManyLeaveNothing(t *testing.T) {
	s := open(t, false)
	newJob(t, "warm-up", "sleep 1").run(s) // the watch opens what it keeps for all groups when it first looks at one
	fds, goroutines := openFDs(t), runtime.NumGoroutine()
	for i := range 200 {
		if _, o := newJob(t, fmt.Sprintf("seq-%d", i), "exit 0").run(s); o.Exit != exited0 {
			t.Fatalf("run %d: %+v", i, o.Exit)
		}
	}
	errs := make(chan error, 50)
	for i := range 50 {
		j := newJob(t, fmt.Sprintf("conc-%d", i), "setsid sleep 600 & exit 7")
		go func() {
			p, err := j.start(s)
			if err == nil {
				<-p.Gone()
				if o := p.Outcome(); o.Exit.Code != 7 || o.Err != nil {
					err = fmt.Errorf("%s: %+v", j.ID, o)
				}
			}
			errs <- err
		}()
	}
	for range 50 {
		select {
		case err := <-errs:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(3 * patience):
			t.Fatal("concurrent runs do not end")
		}
	}
	eventually(t, "goroutines as before", func() bool { return runtime.NumGoroutine() <= goroutines })
	if now := openFDs(t); now > fds {
		t.Errorf("%d open files, %d before", now, fds)
	}
	if u, err := s.Usage(); err != nil || u.Processes != 0 {
		t.Errorf("usage %+v, %v", u, err)
	}
	left, err := filepath.Glob(filepath.Join(s.root.Path(), "runs", "*-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("groups left: %v, %v", left, err)
	}
}

func TestClose_EndsWhatLives(t *testing.T) {
	s := open(t, false)
	j := newJob(t, "run_1", "setsid sleep 600 & echo $!; exec sleep 600")
	p := j.mustStart(s)
	j.says("\n")
	second := newJob(t, "run_finishing", "echo; exec sleep 600")
	second.Grace = time.Hour
	q := second.mustStart(s)
	second.says("\n")
	q.Finish(true)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	awaitProcess(t, p)
	awaitProcess(t, q)
	if p.Outcome().Reason != outcome.ShuttingDown || q.Outcome().Reason != "" {
		t.Errorf("reasons %q and %q", p.Outcome().Reason, q.Outcome().Reason)
	}
	if alive(j.output()) {
		t.Error("a background child outlived Close")
	}
	var refused *StartError
	if _, err := newJob(t, "run_2", "exit 0").start(s); !errors.As(err, &refused) || refused.Cause != outcome.ShuttingDown {
		t.Errorf("start while closing: %v", err)
	}
}

func look(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("this machine lacks %s: %v", program, err)
	}
	return path
}

// unifiedPath finds the cgroup v2 line of /proc/PID/cgroup (cgroups(7)).
func unifiedPath(text string) string {
	for line := range strings.Lines(text) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSuffix(path, "\n")
		}
	}
	return ""
}
