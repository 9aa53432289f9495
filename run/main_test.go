package run

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"

	"golang.org/x/sys/unix"

	"penstock/backend"
	"penstock/internal/procinfo"
	"penstock/outcome"
	"penstock/spawn"
	"penstock/spool"
)

// spawner is one for all tests: a cgroup root is one for a process.
var spawner *spawn.Spawner

func TestMain(m *testing.M) {
	flag.Parse()
	if worker := flag.Lookup("test.fuzzworker"); worker != nil && worker.Value.String() == "true" {
		os.Exit(m.Run()) // it is killed at its end, and would leave its cgroup behind
	}
	if state := os.Getenv(daemonState); state != "" {
		os.Exit(runDaemon(state))
	}
	os.Exit(runTests(m))
}

// bornIn is the group that this program was started in, as its v2 mount has it; "" is not known. The
// spawner moves the program into one of its own, where no other daemon can make any.
var bornIn string

func runTests(m *testing.M) int {
	bornIn = ownGroup()
	var err error
	spawner, err = spawn.Open(context.Background(), spawn.Options{
		Cgroup: spawn.GroupOptions{Mode: "available", Name: "run-test-" + strings.ToLower(ulid.Make().String())},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "tests with real processes are skipped:", err)
	}
	code := m.Run()
	if spawner != nil {
		if err := spawner.Close(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

func ownGroup() string {
	text, err := os.ReadFile("/proc/self/cgroup")
	mounts, mountsErr := procinfo.Host.Mounts()
	if err != nil || mountsErr != nil {
		return ""
	}
	_, group, _ := strings.Cut("\n"+string(text), "\n0::")
	group, _, _ = strings.Cut(group, "\n")
	for _, m := range mounts {
		if m.FSType == "cgroup2" && group != "" {
			return m.Point + group
		}
	}
	return ""
}

// open makes a manager that must be left without a live run, a watch or a turn.
func open(t testing.TB, change ...func(*Options)) *Manager {
	t.Helper()
	if spawner == nil {
		t.Skip("this machine gives us no cgroup v2 tree to make groups in (see the top of the output)")
	}
	o := Options{StateDir: t.TempDir(), Spawner: spawner, Logger: slog.New(slog.NewTextHandler(logTo{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	for _, c := range change {
		c(&o)
	}
	m, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := m.End(ctx, ctx, outcome.ShuttingDown); err != nil {
			t.Error(err)
		}
		if m.notifier != nil && m.notifier.Watches() != 0 {
			t.Errorf("%d inotify watches left", m.notifier.Watches())
		}
		if n := m.sessionLocks.Len(); n != 0 {
			t.Errorf("%d sessions still held", n)
		}
		if err := m.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return m
}

type logTo struct{ t testing.TB }

func (l logTo) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// agent is the tests' backend: a shell script speaks its small language, one
// letter and a rest per line.
type agent struct {
	framing backend.Framing
	talks   bool // stdin is a conversation
	settle  bool
	files   []backend.File
	set     map[string]string
	seen    *atomic.Pointer[backend.Request]
}

func (a agent) Name() string             { return "agent" }
func (a agent) Kind() string             { return "test" }
func (a agent) Framing() backend.Framing { return a.framing }
func (a agent) Features() backend.Features {
	return backend.Features{Resume: true, PlainExit: a.framing == backend.Words}
}

func (a agent) Command(r backend.Request) (backend.Command, error) {
	if a.seen != nil {
		a.seen.Store(&r)
	}
	set := map[string]string{"CLI_SESSION": r.Session}
	maps.Copy(set, a.set)
	c := backend.Command{Prompt: []byte(r.Prompt), Files: a.files, Settle: a.settle, Set: set}
	if a.talks || r.Converse {
		c.Input = backend.Conversation
	}
	return c, nil
}

func (a agent) Machine(r backend.Request) backend.Machine {
	if a.framing == backend.Words {
		return &words{}
	}
	return &letters{prompt: r.Prompt, attachments: r.Attachments, talks: a.talks || r.Converse}
}

// other is an agent of another name.
type other struct{ agent }

func (other) Name() string { return "other" }

// letters holds each text back until the next line, so that its state shows.
type letters struct {
	prompt      string
	attachments []backend.Attachment
	talks       bool
	held        string
}

func (l *letters) Open() [][]byte {
	if !l.talks {
		return nil
	}
	lines := [][]byte{[]byte("hello"), []byte(l.prompt)}
	for _, a := range l.attachments {
		lines = append(lines, []byte(a.Name+" "+a.Type+" "+base64.StdEncoding.EncodeToString(a.Data)))
	}
	l.prompt, l.attachments = "", nil
	return lines
}

func (l *letters) Line(line []byte) (events []backend.Event, write [][]byte) {
	events = l.Close()
	verb, rest, _ := strings.Cut(string(line), " ")
	switch verb {
	case "t":
		l.held = rest
	case "s":
		events = append(events, backend.Event{Kind: backend.Session, Session: rest})
	case "d":
		events = append(events, backend.Event{Kind: backend.Done, Finish: rest})
	case "f":
		events = append(events, backend.Event{Kind: backend.Failed, Failure: &backend.Failure{Code: "provider_error", Message: rest}})
	case "u":
		events = append(events, backend.Event{Kind: backend.Session, Session: "not this"},
			backend.Event{Kind: backend.Failed, Failure: &backend.Failure{Code: "cli_error", Message: rest, SessionUnknown: true}})
	case "w":
		write = [][]byte{[]byte(rest)}
	case "2":
		events = append(events, backend.Event{Kind: backend.Notice, Text: rest}, backend.Event{Kind: backend.Reasoning, Text: rest})
	}
	return events, write
}

func (l *letters) Close() (events []backend.Event) {
	if l.held != "" {
		events = []backend.Event{{Kind: backend.Text, Text: l.held}}
		l.held = ""
	}
	return events
}

// words makes an event of each frame.
type words struct{}

func (words) Open() [][]byte { return nil }
func (words) Line(line []byte) ([]backend.Event, [][]byte) {
	return []backend.Event{{Kind: backend.Text, Text: string(line)}}, nil
}
func (words) Close() []backend.Event { return nil }

// script is a run of a shell script.
func script(text string, change ...func(*Spec)) Spec {
	s := Spec{
		Client: "tester", Model: "agent", Backend: agent{}, Argv: []string{"/bin/sh", "-c", text, "sh"},
		Env: []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent"}, Grace: time.Second,
		Metadata: json.RawMessage(`{"k":1}`),
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

// counted counts OnGone, which must come to exactly one.
func counted(t *testing.T, s *Spec) *atomic.Int32 {
	t.Helper()
	var n atomic.Int32
	s.OnGone = func() { n.Add(1) }
	return &n
}

func start(t *testing.T, m *Manager, s Spec) *Run {
	t.Helper()
	r, err := m.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wait bounds what should end soon.
func wait(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatalf("%s: not within a minute", what)
	}
}

func verdict(t *testing.T, r *Run, want outcome.Cause) outcome.Verdict {
	t.Helper()
	wait(t, "end of "+r.ID(), r.Ended())
	v := r.Verdict()
	if v.Cause != want {
		t.Errorf("cause is %s (%s), want %s", v.Cause, v.Message, want)
	}
	if c := r.Record(); c.State != Finished || c.Cause != v.Cause || c.Message != v.Message || c.Ended == nil {
		t.Errorf("record is not final when Ended is closed: %+v", c)
	}
	return v
}

// events reads to the end.
func events(t *testing.T, d *spool.Reader) []backend.Event {
	t.Helper()
	defer d.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out []backend.Event
	for {
		e, err := d.Next(ctx)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
}

func text(all []backend.Event) string {
	var b bytes.Buffer
	for _, e := range all {
		if e.Kind == backend.Text {
			b.WriteString(e.Text)
		}
	}
	return b.String()
}

// aged makes a run one that ended longer ago.
func aged(t *testing.T, m *Manager, id string, by time.Duration) {
	t.Helper()
	e, data, err := m.state.History.Get(id)
	e.Ended = e.Ended.Add(-by)
	if err == nil {
		err = m.state.History.Finish(e, data)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// recordOnDisk reads a run.json.
func recordOnDisk(path string) (r Record, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(text, &r)
}

// withoutDescriptors has f find that the process can open no file.
func withoutDescriptors(t *testing.T, f func()) {
	t.Helper()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
			t.Error(err)
		}
	}()
	f()
}
