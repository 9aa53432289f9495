package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run/inimage"
	"penstock/spawn"
)

const (
	probeTime   = 10 * time.Second
	probeOutput = 4 << 10
	probeMemory = 2 << 30
	probePids   = 256
)

// Probe is a program that is asked for its version.
type Probe struct {
	Argv, Env []string
	User      *User          // of its runs
	Image     *inimage.Image // that its runs are in; nil is the host's file system
}

// ProbeVersion runs a program with --version in a group of its own, as the user of
// its runs (a program that this user may change is none for root), and gives the
// first line it prints that has a version in it, else the first line: some CLIs
// warn first. It takes up to ten seconds: for the background.
func (m *Manager) ProbeVersion(ctx context.Context, p Probe) (string, error) {
	argv := p.Argv
	if len(argv) == 0 {
		return "", fmt.Errorf("probe version: no program given")
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	c := spawn.Command{Dir: "/", Argv: append(argv[:len(argv):len(argv)], "--version"), Env: backend.MergeEnv(p.Env, p.User.Environment()), User: p.User.Credential()}
	leave, err := m.enterProbe(ctx, p, &c)
	if err != nil {
		return "", fmt.Errorf("probe version: %s: %w", argv[0], err)
	}
	defer leave()
	printed, err := m.capture(ctx, c)
	if err != nil {
		return "", fmt.Errorf("probe version: %s: %w", argv[0], err)
	}
	if line := backend.VersionLine(printed); line != "" {
		return line, nil
	}
	return "", fmt.Errorf("probe version: %s: printed nothing", argv[0])
}

// enterProbe puts a program into its image, where it has one.
func (m *Manager) enterProbe(ctx context.Context, p Probe, c *spawn.Command) (leave func(), err error) {
	if p.Image == nil {
		return func() {}, nil
	}
	if m.o.Images == nil {
		return nil, errNoImages
	}
	held, err := m.o.Images.Use(ctx, p.Image.Name)
	if err != nil {
		return nil, err
	}
	id := "probe_" + ulid.Make().String()
	var entry *inimage.Entry
	leave = func() {
		if err := errors.Join(entry.Close(), m.state.RemoveStatus(id), held.Close()); err != nil {
			m.log.Warn("scratch not removed", "err", err)
		}
	}
	status, err := m.state.NewStatus(id)
	if err == nil {
		entry, err = p.Image.Enter(held, inimage.Run{StateDir: m.state.Path, Tmp: "/tmp", User: p.User, Program: p.Argv[0], Env: p.Env, Memory: probeMemory, Status: status})
	}
	if err != nil {
		leave()
		return nil, err
	}
	c.Image, c.Env = entry.Spawn(), entry.Env
	return leave, nil
}

// Try runs a program in a group of its own, where the daemon works, and gives what it prints, 4 KiB at
// most; its exit status is 0 when there is no error. It takes up to ten seconds.
func (m *Manager) Try(ctx context.Context, argv, env []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	printed, err := m.capture(ctx, spawn.Command{Dir: dir, Argv: argv, Env: env})
	if err != nil {
		return "", fmt.Errorf("try %s: %w", argv[0], err)
	}
	return strings.TrimSpace(printed), nil
}

// capture runs a program and gives the first bytes of what it prints.
func (m *Manager) capture(ctx context.Context, c spawn.Command) (string, error) {
	in, out, err := outputPipe()
	if err != nil {
		return "", err
	}
	defer in.Close()
	c.ID, c.Stdout, c.Stderr = "probe_"+ulid.Make().String(), out, out
	c.Limits = spawn.Resources(spawn.Limits{MemoryMax: probeMemory, PidsMax: probePids})
	p, err := m.spawner.Start(ctx, c)
	out.Close()
	if err != nil {
		return "", err
	}
	printed := make(chan []byte, 1)
	go func() {
		// A read that fails is one that Ended has cut short.
		data, _ := io.ReadAll(io.LimitReader(in, probeOutput))
		printed <- data
		if len(data) == probeOutput {
			p.Finish(false)
		}
	}()
	select {
	case <-p.Ended():
	case <-ctx.Done():
		p.End(outcome.Timeout)
	case <-m.quit:
		p.End(outcome.ShuttingDown)
	}
	<-p.Ended()
	if p.Outcome().Leaked {
		in.Close()
	}
	data := <-printed
	switch o := p.Outcome(); {
	case o.Reason != "":
		return "", fmt.Errorf("no answer within %s", probeTime)
	case o.Exit.Code > 0:
		return "", fmt.Errorf("exit status %d: %s", o.Exit.Code, strings.TrimSpace(string(data)))
	case o.Exit.Signal != 0 && len(data) < probeOutput:
		return "", fmt.Errorf("ended by %s: %s", unix.SignalName(o.Exit.Signal), strings.TrimSpace(string(data)))
	}
	return strings.ToValidUTF8(string(data), "\uFFFD"), nil
}

// outputPipe has a blocking end for the child and one with deadlines for us.
func outputPipe() (in, out *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fds[0]), "pipe"), os.NewFile(uintptr(fds[1]), "pipe"), nil
}
