package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"penstock/cgroup/root"
	"penstock/internal/hint"
	"penstock/run/store"
	"penstock/server"
	"penstock/spawn"
	"penstock/systemd"
)

// errStopped is why a successor isn't needed any more.
var errStopped = errors.New("a stop came in between")

// reexec executes the successor in this process's place. Where that fails,
// although it was tried out before, this program takes everything up again: nil
// says that it is ready to.
func (d *service) reexec(next *successor, sig *signals, left *server.HandedOver) error {
	names := d.inherited.Names
	if len(names) == 0 {
		for range left.Listeners {
			names = append(names, systemd.OwnSocket)
		}
	}
	files, names := append(left.Listeners, left.Lock), append(names[:len(names):len(names)], systemd.StateLock)

	err := errStopped
	if d.stopping = sig.end(); !d.stopping {
		// Go leaves these ignored until they are wanted. A SIGTERM from now on
		// until then ends the process, and its runs are as after a crash.
		signal.Ignore(unix.SIGHUP, unix.SIGINT)
		d.app.flush()
		err = execute(next.path, files, names, left.Origin)
	}
	d.log.Error("the successor was not executed: serving on without it", "err", err)
	d.note(handoverNote{Outcome: handoverFailed, Message: err.Error()})
	given, err := systemd.InheritFiles(files, names)
	if err != nil {
		return fmt.Errorf("take up again what was to be handed over: %w", err)
	}
	d.inherited, d.origin, d.reclaimed = given, &left.Origin, true
	d.reloads.takeInForce(&d.config)
	return nil
}

// execute returns only when it failed.
func execute(path string, files []*os.File, names []string, origin spawn.Origin) error {
	word, err := json.Marshal(origin)
	if err != nil {
		return err
	}
	return spawn.Reexec{
		Path: path, Argv: os.Args, Env: systemd.Environ(os.Environ(), names, string(word)), Files: files,
		BlockSignals: []syscall.Signal{unix.SIGUSR2},
	}.Exec()
}

// originIn reads what execute has told; nil where a daemon of an earlier version
// told nothing.
func originIn(word string) (*spawn.Origin, error) {
	if word == "" {
		return nil, nil
	}
	o := new(spawn.Origin)
	if err := json.Unmarshal([]byte(word), o); err != nil {
		return nil, fmt.Errorf("what the daemon before this one says of its groups: %q: %w", word, err)
	}
	return o, nil
}

// received is told when a daemon that was handed everything serves it.
func (d *service) received() {
	if d.inherited.Lock == nil || d.reclaimed {
		return
	}
	d.log.Info("handed over", "version", d.build.Version)
	d.note(handoverNote{Outcome: handoverDone})
}

// note writes down how a handover went, for the subcommand that asked for it.
func (d *service) note(n handoverNote) {
	n.Version, n.At = d.build.Version, time.Now()
	report(d.log, n.write(d.config.StateDir))
}

// dryRunState is what a daemon hands over, as the successor's program is asked about
// it beforehand (serve --dry-run): it knows best what it takes.
type dryRunState struct {
	server.HandoverState
	StateDir    string   `json:"state_dir"`
	Listen      []string `json:"listen,omitempty"` // empty where systemd gave the sockets
	Isolation   string   `json:"isolation"`
	GroupMemory int64    `json:"group_memory,omitempty"` // bytes: what bounds the daemon's group; 0 is nothing
}

// successor is the program that takes over: what is installed then where this
// one was started from.
type successor struct {
	path   string
	daemon *service
}

// newSuccessor finds the path while it is still this program's. The name it was
// called by wins: a symbolic link may point elsewhere by then.
func newSuccessor(d *service) (*successor, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find our own program: %w", err)
	}
	if called := os.Args[0]; filepath.IsAbs(called) {
		a, errA := os.Stat(called)
		b, errB := os.Stat(path)
		if errA == nil && errB == nil && os.SameFile(a, b) {
			path = called
		}
	}
	return &successor{path: path, daemon: d}, nil
}

// check runs the successor's program without letting it take over.
func (s *successor) check(ctx context.Context, g server.HandoverState) error {
	answer, err := s.ask(ctx, g)
	if err != nil {
		s.daemon.note(handoverNote{Outcome: handoverRefused, Message: err.Error()})
		return err
	}
	s.daemon.log.Info("handover begins", "program", s.path, "is", answer)
	return nil
}

func (s *successor) ask(ctx context.Context, g server.HandoverState) (string, error) {
	d := s.daemon
	e := dryRunState{HandoverState: g, StateDir: d.config.StateDir, Isolation: d.config.Isolation.Mode}
	if len(d.inherited.Listeners) == 0 || d.inherited.Own() {
		e.Listen = d.config.Listen
	}
	if limit, ok := root.MemoryAbove(); ok {
		e.GroupMemory = limit.N
	}
	text, err := json.Marshal(e)
	if err != nil {
		return "", err
	}
	argv := append([]string{s.path}, os.Args[1:]...)
	answer, err := g.Try(ctx, append(argv, "--"+dryRunFlag+"="+string(text)), os.Environ())
	if err != nil {
		return "", err
	}
	return knowsFormat(answer)
}

// formatLine ends what a successor says that knows our state directory's layout.
var formatLine = fmt.Sprintf("state format %d", store.Format)

// knowsFormat refuses a program that would not find what we leave to it.
func knowsFormat(answer string) (version string, err error) {
	version, ok := strings.CutSuffix(strings.TrimSpace(answer), "\n"+formatLine)
	if !ok {
		return "", hint.Errorf("restart, when none is left", "%s: an earlier version, which doesn't know state format %d and would end all durable runs", version, store.Format)
	}
	return version, nil
}

const dryRunFlag = "dry-run"

func addDryRun(cmd *cobra.Command) *string {
	text := cmd.Flags().String(dryRunFlag, "", "check the configuration for taking over what this `state` says, and end")
	if err := cmd.Flags().MarkHidden(dryRunFlag); err != nil {
		panic(err) // the flag was added in the line above
	}
	return text
}

// dryRun says whether this program, with this configuration, would take over.
func (a *app) dryRun(s *settings, text string) error {
	var e dryRunState
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return fmt.Errorf("dry run: %w", err)
	}
	s.groupMemory = &e.GroupMemory
	c, err := s.load()
	if err != nil {
		return a.explain(err)
	}
	for _, one := range []struct{ key, was, is string }{
		{"state_dir", e.StateDir, c.StateDir},
		{"isolation.mode", e.Isolation, c.Isolation.Mode},
	} {
		if one.was != one.is {
			return fmt.Errorf("%s: %q was %q: this needs a restart", one.key, one.is, one.was)
		}
	}
	if len(e.Listen) > 0 && !slices.Equal(e.Listen, c.Listen) {
		return fmt.Errorf("listen: %q was %q: this needs a restart", c.Listen, e.Listen)
	}
	if err := server.Check(c, e.HandoverState); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n%s\n", readBuild(), formatLine)
	return err
}
