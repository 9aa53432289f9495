package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/outcome"
)

func TestStart_InTheGroup(t *testing.T) {
	s := open(t, false)
	// The child itself reports first thing where it is: never moved in later.
	out, o := newJob(t, "run_birth", "cat /proc/self/cgroup").run(s)
	if at := unifiedPath(out); !strings.HasSuffix(at, "/run_birth") {
		t.Errorf("started in %q", at)
	}
	if o.Spawn <= 0 || o.Teardown <= 0 || !o.Exited.After(o.Started) {
		t.Errorf("durations: %+v", o)
	}
}

func TestStart_Environment(t *testing.T) {
	s := open(t, false)
	t.Setenv("DAEMON_SECRET", "hunter2")
	for name, env := range map[string][]string{
		"given": {"B=2", "A=1", "A=again"},
		"none":  nil,
	} {
		t.Run(name, func(t *testing.T) {
			j := newJob(t, "run_env-"+name, "")
			j.Argv = []string{look(t, "env")}
			j.Env = env
			out, _ := j.run(s)
			got := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
			if out == "" {
				got = nil
			}
			if diff := cmp.Diff(env, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStart_ThreeFilesOnly(t *testing.T) {
	s := open(t, false)
	// A descriptor that is not marked close-on-exec, made after the launcher.
	fd, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	j := newJob(t, "run_fds", "echo up; exec sleep 600")
	p := j.mustStart(s)
	j.says("up")
	held := fmt.Sprintf("/proc/%d/fd", p.PID())
	want := map[string]string{"0": os.DevNull, "1": j.out, "2": j.out}
	// Its loader has files of its own open for a moment.
	eventually(t, "it has only its three files", func() bool {
		entries, err := os.ReadDir(held)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, e := range entries {
			got[e.Name()], _ = os.Readlink(filepath.Join(held, e.Name()))
		}
		if cmp.Equal(want, got) {
			return true
		}
		t.Log(cmp.Diff(want, got))
		return false
	})
	p.End(outcome.Cancelled)
	awaitProcess(t, p)
}

func TestStart_Stdin(t *testing.T) {
	s := open(t, false)
	j := newJob(t, "run_stdin", "cat")
	prompt := filepath.Join(t.TempDir(), "prompt")
	if err := os.WriteFile(prompt, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(prompt)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	j.Stdin = in
	if out, _ := j.run(s); out != "hello" {
		t.Errorf("stdin gave %q", out)
	}
}

func TestStart_SessionAndOOMScore(t *testing.T) {
	s := open(t, false)
	j := newJob(t, "run_score", `read a b c d e f rest </proc/$$/stat; echo "session $f of $$"; exec sleep 600`)
	p := j.mustStart(s)
	j.says("session")
	if want := fmt.Sprintf("session %d of %d\n", p.PID(), p.PID()); j.output() != want {
		t.Errorf("got %q, want %q", j.output(), want)
	}
	score, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", p.PID()))
	if err != nil || strings.TrimSpace(string(score)) != "500" {
		t.Errorf("oom_score_adj %q, %v", score, err)
	}
	p.End(outcome.Cancelled)
	awaitProcess(t, p)
}

func TestStart_User(t *testing.T) {
	needRoot(t)
	s := open(t, false)
	j := newJob(t, "run_user", `id -u; id -g; id -G; grep -E "^Cap(Prm|Eff):" /proc/self/status`)
	j.Dir = "/"
	j.User = &syscall.Credential{Uid: 12345, Gid: 23456, Groups: []uint32{34567}}
	out, _ := j.run(s)
	want := "12345\n23456\n23456 34567\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
	if out != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestStart_Refused(t *testing.T) {
	s := open(t, false)
	dir := t.TempDir()
	plain, garbage := filepath.Join(dir, "plain"), filepath.Join(dir, "garbage")
	for path, mode := range map[string]os.FileMode{plain: 0o644, garbage: 0o755} {
		if err := os.WriteFile(path, []byte("\x00\x01\x02"), mode); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name, program, dir, says string
	}{
		{"missing program", dir + "/no", dir, "program not found"},
		{"missing directory", "/bin/sh", dir + "/no", "working directory does not exist"},
		{"directory is a file", "/bin/sh", plain, "working directory is not a directory"},
		{"not executable", plain, dir, "not executable"},
		{"no known format", garbage, dir, "#! line"},
		{"program is a directory", dir, dir, "is a directory"},
		{"program is not absolute", "sh", dir, "absolute"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j := newJob(t, fmt.Sprintf("run_no-%d", i), "")
			j.Argv, j.Dir = []string{tt.program}, tt.dir
			j.BeforeRemove = func(outcome.Outcome) { t.Error("BeforeRemove called for a start that failed") }
			_, err := j.start(s)
			var refused *StartError
			if !errors.As(err, &refused) || refused.Cause != outcome.CLIMissing || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
			if refused != nil && refused.Gone != nil {
				t.Error("the group is gone, the error says it will be")
			}
			if _, err := os.Stat(groupDir(s, j.ID)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("group left behind: %v", err)
			}
		})
	}
}

func TestStart_ReservedName(t *testing.T) {
	s := open(t, false)
	var refused *StartError
	_, err := newJob(t, "memory.max", "exit 0").start(s)
	if !errors.As(err, &refused) || !errors.Is(err, ErrName) || refused.Gone != nil {
		t.Errorf("got %v, want ErrName", err)
	}
}

func TestStart_Cancelled(t *testing.T) {
	s := open(t, false)
	mark := filepath.Join(t.TempDir(), "mark")
	j := newJob(t, "run_cancelled", "touch "+mark)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var refused *StartError
	if _, err := s.Start(ctx, j.Command); !errors.As(err, &refused) || refused.Cause != outcome.Cancelled {
		t.Errorf("got %v", err)
	}

	// The same while it waits for the launcher, its group made already.
	busy, free := make(chan struct{}), make(chan struct{})
	if err := s.launcher.Do(context.Background(), func() { close(busy); <-free }); err != nil {
		t.Fatal(err)
	}
	<-busy
	ctx, cancel = context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := s.Start(ctx, j.Command)
	close(free)
	if !errors.As(err, &refused) || refused.Cause != outcome.Timeout {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(groupDir(s, j.ID)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("group left behind: %v", err)
	}
	newJob(t, "run_after", "exit 0").run(s)
	if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
		t.Error("a cancelled command ran")
	}
}

// lateEnd is a context that ends when a job of the launcher is beyond its reach.
type lateEnd struct {
	context.Context
	asked atomic.Int32
	ended atomic.Bool
}

func (*lateEnd) Done() <-chan struct{} { return nil }

func (c *lateEnd) Err() error {
	c.asked.Add(1)
	if c.ended.Load() {
		return context.Canceled
	}
	return nil
}

// The last look is the launcher's own, when nothing else can ask any more.
func TestStart_CancelledBeforeTheFork(t *testing.T) {
	s := open(t, false)
	busy, free := make(chan struct{}), make(chan struct{})
	if err := s.launcher.Do(context.Background(), func() { close(busy); <-free }); err != nil {
		t.Fatal(err)
	}
	<-busy
	late := &lateEnd{Context: context.Background()}
	started := make(chan error, 1)
	j := newJob(t, "run_doorstep", "exit 0")
	go func() {
		_, err := s.Start(late, j.Command)
		started <- err
	}()
	eventually(t, "both earlier looks", func() bool { return late.asked.Load() >= 2 })
	late.ended.Store(true)
	close(free)
	var refused *StartError
	if err := <-started; !errors.As(err, &refused) || refused.Cause != outcome.Cancelled {
		t.Errorf("got %v", err)
	}
}

// A start that even the kill doesn't end keeps its group, and says so.
func TestStart_TimeoutUnkillable(t *testing.T) {
	s := open(t, false)
	s.lateMax = 50 * time.Millisecond
	g, err := s.root.NewGroup("run_stuck", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer := make(chan startResult)
	refused := s.startTimeout(Command{ID: "run_stuck", Argv: []string{"/bin/true"}}, g, answer)
	if refused.Gone == nil {
		t.Fatal("the error says that the group is gone")
	}
	select {
	case <-refused.Gone:
		t.Error("gone before the start ended")
	default:
	}
	answer <- startResult{err: syscall.EAGAIN}
	await(t, "group gone", refused.Gone)
	if _, err := os.Stat(groupDir(s, "run_stuck")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("gone, but the group is there: %v", err)
	}
}

func TestStart_Timeout(t *testing.T) {
	s := open(t, false)
	s.startMax = 300 * time.Millisecond
	// A frozen child never gets to execve. Go's spawn keeps its processor so
	// long, so the test needs another one, and no stop-the-world meanwhile.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	freeze := filepath.Join(s.root.Path(), "runs", "cgroup.freeze")
	if err := os.WriteFile(freeze, []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	var refused *StartError
	_, err := newJob(t, "run_frozen", "exit 0").start(s)
	if thaw := os.WriteFile(freeze, []byte("0"), 0); thaw != nil {
		t.Fatal(thaw)
	}
	if !errors.As(err, &refused) || refused.Cause != outcome.StartFailed || !strings.Contains(err.Error(), "frozen") {
		t.Errorf("got %v", err)
	}
	eventually(t, "group removed", func() bool {
		_, err := os.Stat(groupDir(s, "run_frozen"))
		return errors.Is(err, os.ErrNotExist)
	})
	// The launcher still works.
	s.startMax = startMax
	if _, o := newJob(t, "run_thawed", "exit 3").run(s); o.Exit.Code != 3 {
		t.Errorf("after the thaw: %+v", o.Exit)
	}
}
