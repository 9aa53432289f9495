package spawn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"penstock/cgroup"
	"penstock/outcome"
)

// patience bounds every wait of a test.
const patience = time.Minute

func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s: not within %s", what, patience)
	}
}

// fakeGroup stands for a group whose kernel side misbehaves; kill is what
// cgroup.kill would do.
type fakeGroup struct {
	mu        sync.Mutex
	calls     []string
	kill      func() error
	populated bool
	procs     []int
	empty     error
	gone      chan struct{}
}

func (g *fakeGroup) note(call string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls = append(g.calls, call)
}

func (g *fakeGroup) Procs() ([]int, error)        { g.note("procs"); return g.procs, nil }
func (g *fakeGroup) Populated() (bool, error)     { return g.populated, nil }
func (g *fakeGroup) Usage() (cgroup.Usage, error) { return cgroup.Usage{}, nil }
func (g *fakeGroup) StorageIO() (uint64, error)   { return 0, nil }
func (g *fakeGroup) CPUTime() (uint64, error)     { return 0, nil }
func (g *fakeGroup) CPUWait() *uint64             { return nil }
func (g *fakeGroup) NoteEnd(string) error         { return nil }
func (g *fakeGroup) MemoryMax() (int64, bool)     { return 0, false }
func (g *fakeGroup) PidsMax() (int64, bool)       { return 0, false }
func (g *fakeGroup) Receipt() (cgroup.Receipt, error) {
	g.note("receipt")
	return cgroup.Receipt{OOMEvents: num(0), OOMKills: num(0), PidsRefused: num(0)}, nil
}
func (g *fakeGroup) Gone() <-chan struct{}        { return g.gone }
func (g *fakeGroup) Kill() error                  { g.note("kill"); return g.kill() }
func (g *fakeGroup) Remove(context.Context) error { g.note("remove"); return g.empty }
func (g *fakeGroup) WaitEmpty(context.Context) error {
	g.note("wait")
	return g.empty
}

// supervised starts a script without any group and supervises it in a fake one.
func supervised(t *testing.T, g *fakeGroup, c Command, script string) (*Process, chan struct{}) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	leader, err := os.StartProcess("/bin/sh", []string{"sh", "-c", script}, &os.ProcAttr{Files: []*os.File{null, in, null}})
	in.Close()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(script, "echo ready") {
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatalf("leader is not ready: %v", err)
		}
	}
	g.gone = make(chan struct{})
	if g.kill == nil {
		g.kill = leader.Kill
	}
	p := newProcess(c, g, child{leader}, time.Now(), slog.New(slog.DiscardHandler))
	abandoned, over := make(chan struct{}), make(chan struct{})
	exits, err := newExitPoller()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(exits.close)
	p.supervise(exits, abandoned, func() { close(over) })
	t.Cleanup(func() {
		p.End(outcome.Killed)
		close(abandoned)
		await(t, "supervisor", over)
	})
	return p, abandoned
}

func TestTeardown_Order(t *testing.T) {
	g := &fakeGroup{}
	c := Command{ID: "run_1"}
	c.BeforeRemove = func(outcome.Outcome) { g.note("before remove") }
	p, _ := supervised(t, g, c, "exit 3")
	await(t, "end", p.Ended())
	if diff := cmp.Diff([]string{"receipt", "before remove", "remove"}, g.calls); diff != "" {
		t.Error(diff)
	}
	if o := p.Outcome(); o.Exit != (outcome.Exit{Code: 3, Known: true}) || o.Reason != "" || o.Leaked || o.Err != nil {
		t.Errorf("outcome %+v", o)
	}
	select {
	case <-p.Gone():
		t.Fatal("gone before the group is")
	default:
	}
	close(g.gone)
	await(t, "gone", p.Gone())
}

func TestTeardown_SurvivorsAreKilledAndCounted(t *testing.T) {
	g := &fakeGroup{populated: true, procs: []int{7, 8}, kill: func() error { return nil }}
	p, _ := supervised(t, g, Command{}, "exit 0")
	await(t, "end", p.Ended())
	if diff := cmp.Diff([]string{"procs", "kill", "wait", "receipt", "remove"}, g.calls); diff != "" {
		t.Error(diff)
	}
	if o := p.Outcome(); o.Survived != 2 {
		t.Errorf("survived %d, want 2", o.Survived)
	}
}

func TestTeardown_UnkillableIsTold(t *testing.T) {
	g := &fakeGroup{populated: true, empty: fmt.Errorf("wait: %w", cgroup.ErrBusy)}
	p, _ := supervised(t, g, Command{}, "exec sleep 60")
	p.End(outcome.Timeout)
	await(t, "end", p.Ended())
	o := p.Outcome()
	if !o.Leaked || !errors.Is(o.Err, cgroup.ErrBusy) || o.Reason != outcome.Timeout {
		t.Errorf("leaked %v, err %v, reason %q", o.Leaked, o.Err, o.Reason)
	}
}

func TestTeardown_KillsTheLeaderWithoutTheGroup(t *testing.T) {
	broken := errors.New("cgroup.kill: broken")
	g := &fakeGroup{populated: true, kill: func() error { return broken }}
	p, _ := supervised(t, g, Command{}, "exec sleep 60")
	p.End(outcome.Cancelled)
	await(t, "end", p.Ended())
	o := p.Outcome()
	if o.Exit.Signal != syscall.SIGKILL || !errors.Is(o.Err, broken) {
		t.Errorf("exit %+v, err %v", o.Exit, o.Err)
	}
}

func TestTeardown_LeaderBeyondTheGroupsKill(t *testing.T) {
	g := &fakeGroup{populated: true, kill: func() error { return nil }}
	p, _ := supervised(t, g, Command{}, "exec sleep 600")
	p.bound = 100 * time.Millisecond // read only after End
	p.End(outcome.Timeout)
	await(t, "end", p.Ended())
	if o := p.Outcome(); !o.Leaked || o.Err == nil {
		t.Errorf("leaked %v, err %v", o.Leaked, o.Err)
	}
	await(t, "exit", p.Exited())
}

const ignoreTerm = `trap "" TERM; echo ready; while :; do sleep 0.02; done`

const trapTerm = `trap "exit 9" TERM; echo ready; while :; do sleep 0.02; done`

func TestProcess_Endings(t *testing.T) {
	tests := []struct {
		name   string
		cmd    Command
		script string
		end    func(*Process)
		exit   outcome.Exit
		reason outcome.Cause
	}{
		{"hard end", Command{Grace: patience}, trapTerm, func(p *Process) { p.End(outcome.Timeout) }, killed9, outcome.Timeout},
		{"soft end", Command{Grace: patience, SoftEnd: true}, trapTerm, func(p *Process) { p.End(outcome.Timeout) }, outcome.Exit{Code: 9, Known: true}, outcome.Timeout},
		{"soft end ignored", Command{Grace: 50 * time.Millisecond, SoftEnd: true}, ignoreTerm,
			func(p *Process) { p.End(outcome.Timeout) }, killed9, outcome.Timeout},
		{"grace cut short", Command{Grace: time.Hour, SoftEnd: true}, ignoreTerm, func(p *Process) { p.End(outcome.ShuttingDown); p.Kill() }, killed9, outcome.ShuttingDown},
		{"settling cut short", Command{Grace: time.Hour}, ignoreTerm, func(p *Process) { p.Finish(true); p.Kill() }, killed9, ""},
		{"a kill ends none whose end hasn't begun", Command{Grace: patience, SoftEnd: true}, trapTerm, func(p *Process) { p.Kill(); p.End(outcome.Timeout) }, outcome.Exit{Code: 9, Known: true}, outcome.Timeout},
		{"grace of a client that has gone", Command{Grace: time.Hour, SoftEnd: true}, ignoreTerm,
			func(p *Process) { p.goneGrace = 50 * time.Millisecond; p.End(outcome.ClientGone) }, killed9, outcome.ClientGone},
		{"a client goes while it ends", Command{Grace: time.Hour, SoftEnd: true}, ignoreTerm,
			func(p *Process) {
				p.goneGrace = 50 * time.Millisecond
				p.End(outcome.Timeout)
				p.End(outcome.ClientGone)
			}, killed9, outcome.Timeout},
		{"first reason wins", Command{}, trapTerm, func(p *Process) { p.End(outcome.Cancelled); p.End(outcome.Timeout) }, killed9, outcome.Cancelled},
		{"finish at once", Command{Grace: patience}, trapTerm, func(p *Process) { p.Finish(false) }, killed9, ""},
		{"soft finish", Command{Grace: patience, SoftEnd: true}, trapTerm, func(p *Process) { p.Finish(false) }, outcome.Exit{Code: 9, Known: true}, ""},
		{"settled", Command{Grace: patience}, "echo ready; sleep 0.1; exit 4", func(p *Process) { p.Finish(true) }, outcome.Exit{Code: 4, Known: true}, ""},
		{"never settles", Command{Grace: 50 * time.Millisecond}, trapTerm, func(p *Process) { p.Finish(true) }, killed9, ""},
		{"never settles, soft", Command{Grace: 300 * time.Millisecond, SoftEnd: true}, trapTerm, func(p *Process) { p.Finish(true) }, outcome.Exit{Code: 9, Known: true}, ""},
		{"end cuts settling short, without a reason", Command{Grace: time.Hour}, trapTerm, func(p *Process) { p.Finish(true); p.End(outcome.Timeout) }, killed9, ""},
		{"finish after end changes nothing", Command{Grace: time.Hour}, trapTerm, func(p *Process) { p.End(outcome.Timeout); p.Finish(true) }, killed9, outcome.Timeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := &fakeGroup{populated: true}
			p, _ := supervised(t, g, tt.cmd, tt.script)
			tt.end(p)
			await(t, "end", p.Ended())
			if o := p.Outcome(); o.Exit != tt.exit || o.Reason != tt.reason {
				t.Errorf("exit %+v reason %q, want %+v and %q", o.Exit, o.Reason, tt.exit, tt.reason)
			}
		})
	}
}

// A tree that rests holds neither a thread nor a goroutine.
func TestProcess_RestsWithoutAGoroutine(t *testing.T) {
	p, _ := supervised(t, &fakeGroup{populated: true}, Command{}, "exec sleep 600")
	if err := unix.Kill(p.PID(), 0); err != nil {
		t.Fatal(err)
	}
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for g := range bytes.SplitSeq(stacks, []byte("\n\n")) {
		if bytes.Contains(g, []byte("spawn.(*Process).")) {
			t.Errorf("%s", g)
		}
	}
}

// Of its command it keeps what its end needs: files, environment and arguments may go.
func TestProcess_KeepsLittleOfItsCommand(t *testing.T) {
	p := newProcess(Command{ID: "run_1", Argv: []string{"/bin/cat"}, Env: []string{"A=1"}, Stdin: os.Stdin, Grace: time.Second}, nil, nil, time.Now(), nil)
	if want := (Command{ID: "run_1", Grace: time.Second}); !reflect.DeepEqual(p.cmd, want) {
		t.Errorf("it holds %+v", p.cmd)
	}
}

func TestProcess_NoReasonAfterTheExit(t *testing.T) {
	g := &fakeGroup{}
	p, _ := supervised(t, g, Command{}, "exit 0")
	await(t, "exit", p.Exited())
	p.End(outcome.Timeout)
	await(t, "end", p.Ended())
	if o := p.Outcome(); o.Reason != "" {
		t.Errorf("reason %q for a leader that had exited", o.Reason)
	}
}
