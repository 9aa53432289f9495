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
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"penstock/cgroup"
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
	c := exec.Command("go", "build", "-o", filepath.Join(dir, "pid1"), "../internal/pid1test")
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return []string{filepath.Join(dir, "pid1")}, nil
})

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

// imageRoot has busybox for its programs.
func imageRoot(t testing.TB) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		if lab() {
			t.Fatal(err)
		}
		t.Skipf("needs busybox, static: %v", err)
	}
	text, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, dir := range []string{"bin", "etc", "tmp"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "bin/busybox"), text, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, applet := range []string{"sh", "true", "sleep", "touch"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", applet)); err != nil {
			t.Fatal(err)
		}
	}
	return root
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
	s, root := openWithImages(t), imageRoot(t)
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
	j := inImageJob(t, imageRoot(t), "soft", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done")
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
	j := inImageJob(t, imageRoot(t), "hard", "trap '' TERM; sleep 99")
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
	s, root := openWithImages(t), imageRoot(t)
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
	j := inImageJob(t, imageRoot(t), "cage", "echo /*; echo /proc/self/fd/*; for p in /proc/[0-9]*; do echo $p; done; cat /proc/self/oom_score_adj; echo $GOMAXPROCS; cat /proc/self/cgroup; (echo x > /proc/sys/kernel/hostname) 2>/dev/null || echo closed")
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

const playImageDaemon = "play-image-daemon"

// imageDaemon is another daemon: it starts scripts in an image, which has dir as /work,
// tells their leaders' pids, and is killed.
func imageDaemon(name, root, dir string, program, scripts []string) int {
	refused := func(err error) int {
		fmt.Println("refused:", err)
		return 1
	}
	f, err := os.Open(program[0])
	if err != nil {
		return refused(err)
	}
	runtime, err := OpenRuntime(context.Background(), "", f, program[1:]...)
	if err != nil {
		return refused(err)
	}
	log := slog.New(slog.DiscardHandler)
	s, err := Open(context.Background(), Options{Cgroup: cgroup.Options{Mode: mode(), Name: name, Logger: log}, Runtime: runtime, Logger: log})
	if err != nil {
		return refused(err)
	}
	work, err := bundle.OpenSource(dir, nil)
	if err != nil {
		return refused(err)
	}
	for i, script := range scripts {
		status, err := os.OpenFile(statusIn(dir, i), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return refused(err)
		}
		p, err := s.Start(context.Background(), Command{
			ID: fmt.Sprint("run", i), Argv: []string{"sh", "-c", script}, Env: []string{"PATH=/bin"}, Dir: "/work",
			Image: &Image{Root: bundle.Options{Image: root, Home: "/root", Writable: 1 << 20, Mounts: []bundle.Mount{{From: work, To: "/work"}}}, Status: status},
		})
		if err != nil {
			return refused(err)
		}
		fmt.Println(p.PID())
	}
	time.Sleep(time.Minute)
	return 0
}

func statusIn(dir string, i int) string { return filepath.Join(dir, fmt.Sprint("status", i)) }

// A later daemon learns how a run ends from the same file, whose child it may be.
func TestImage_DaemonKilled(t *testing.T) {
	runtime, root, dir := runtimeOf(t), imageRoot(t), t.TempDir()
	program, err := process1()
	if err != nil {
		t.Fatal(err)
	}
	touch := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pids := orphansOf(t, 4, playImageDaemon, rootName(), root, dir, strings.Join(program, " "),
		"while [ ! -e go ]; do sleep 0.02; done; kill -9 $$",
		"while [ ! -e leave ]; do sleep 0.02; done; exit 5", // while no daemon is there
		"trap 'exit 6' TERM; touch trap; while :; do sleep 0.02; done",
		"sleep 99",
	)
	touch("leave")
	eventually(t, "what ends alone", func() bool { return !alive(strconv.Itoa(pids[1])) })
	eventually(t, "the shell's trap", func() bool { _, err := os.Stat(filepath.Join(dir, "trap")); return err == nil })
	log := slog.New(slog.DiscardHandler)
	var keep []Leftover
	for i := range pids {
		keep = append(keep, Leftover{ID: fmt.Sprint("run", i), InImage: true})
	}
	s, err := Open(t.Context(), Options{Cgroup: cgroup.Options{Mode: mode(), Name: rootName(), Logger: log}, Keep: keep, Runtime: runtime, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	var all []*Process
	for i, pid := range pids {
		status, err := os.Open(statusIn(dir, i))
		if err != nil {
			t.Fatal(err)
		}
		defer status.Close()
		p, err := s.Adopt(Command{ID: fmt.Sprint("run", i), Image: &Image{Status: status}, SoftEnd: true, Grace: 20 * time.Second}, pid, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	touch("go")
	all[2].End(outcome.Cancelled)
	all[3].End(outcome.Timeout)
	for i, want := range []outcome.Exit{killed9, {Known: true, Code: 5}, {Known: true, Code: 6}, {Known: true, Code: -1, Signal: syscall.SIGTERM}} {
		await(t, fmt.Sprint("end of run ", i), all[i].Gone())
		if got := all[i].Outcome(); got.Exit != want || got.Err != nil {
			t.Errorf("run %d: %+v %v, want %+v", i, got.Exit, got.Err, want)
		}
	}
}

// Neither in what is told of a run nor in what it may have do our own processes count.
func TestImage_OwnTasksDontCount(t *testing.T) {
	s := openWithImages(t)
	j := inImageJob(t, imageRoot(t), "tasks", "echo up; sleep 99 & sleep 99 & wait")
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

// bubblewrap's word alone is none.
func TestImageLeader_NoWord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status")
	if err := os.WriteFile(path, []byte("{ \"child-pid\": 1 }\n{\"started\":2}\n{ \"exit-code\": 0 }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for said, want := range map[outcome.Exit]outcome.Exit{
		exited0:                  {Code: -1},
		{Known: true, Code: 137}: killed9,
		{Known: true, Code: 2}:   {Known: true, Code: 2},
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

func TestRuntimeFailed(t *testing.T) {
	for told, want := range map[string]string{
		"": "without a word",
		"bwrap: Can't mount proc on /newroot/proc: Operation not permitted": "systemd/image.conf",
		"bwrap: setting up uid map: Permission denied":                      "AppArmor",
		"bwrap: No permissions to create new namespace, likely because":     "user.max_user_namespaces",
		"bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted":      "CAP_NET_ADMIN",
		"bwrap: something else": "something else",
	} {
		if err := runtimeFailed(told); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", told, err, want)
		}
	}
}

func TestOpenRuntime_Refused(t *testing.T) {
	if _, err := OpenRuntime(t.Context(), "", nil); err == nil {
		t.Error("without a process 1")
	}
	program, err := process1()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(program[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := OpenRuntime(t.Context(), "/no/such/bwrap", f); err == nil || !strings.Contains(err.Error(), "apt install bubblewrap") {
		t.Errorf("without bubblewrap: %v", err)
	}
	old := filepath.Join(t.TempDir(), "bwrap")
	if err := os.WriteFile(old, []byte("#!/bin/sh\necho '    --bind SRC DEST'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRuntime(t.Context(), old, f); err == nil || !strings.Contains(err.Error(), "no --bind-fd") {
		t.Errorf("an old bubblewrap: %v", err)
	}
}

// Beside BenchmarkStart: what an image costs.
func BenchmarkImage(b *testing.B) {
	s, root := openWithImages(b), imageRoot(b)
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
