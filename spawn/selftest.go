package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"penstock/cgroup"
	"penstock/internal/hostinfo"
	"penstock/internal/procinfo"
	"penstock/outcome"
)

// selfTestMax bounds the whole self-test.
const selfTestMax = 30 * time.Second

// proveSpawn runs two real children through the very path of every run: one
// that must exit 0 - the kernel kills every child started from a group that was
// once killed - and one that must sit in its group, under its limits, die of
// the kill and leave nothing.
func (s *Spawner) proveSpawn(ctx context.Context, sleep []string) error {
	ctx, cancel := context.WithTimeout(ctx, selfTestMax)
	defer cancel()
	if len(sleep) == 0 {
		program, err := exec.LookPath("sleep")
		if err != nil {
			return fmt.Errorf("look for a program to start: %w", err)
		}
		sleep = []string{program}
	}
	limits := cgroup.Limits{}
	if s.root.Enforced().Memory == cgroup.Kernel {
		limits.MemoryMax = 64 << 20
	}
	if s.root.Enforced().Pids == cgroup.Kernel {
		limits.PidsMax = 64
	}
	test := func(n int, arg string) Command {
		return Command{
			ID:   fmt.Sprintf("selftest-%d-%d", os.Getpid(), n),
			Argv: append(slices.Clone(sleep), arg), Env: []string{}, Dir: "/",
			Limits: cgroup.Resources(limits),
		}
	}
	if err := s.proveExit(ctx, test(1, "0")); err != nil {
		return err
	}
	return s.proveCage(ctx, test(2, "600"), limits)
}

func (s *Spawner) proveExit(ctx context.Context, c Command) error {
	p, err := s.Start(ctx, c)
	if err != nil {
		return err
	}
	if err := awaitGone(ctx, p); err != nil {
		return err
	}
	if e := p.Outcome().Exit; !e.Known || e.Code != 0 {
		return fmt.Errorf("%s: %+v instead of exit status 0: if killed, the daemon's own cgroup has seen cgroup.kill and children born from it die at birth (hint: restart the unit)", c.Argv[0], e)
	}
	return p.Outcome().Err
}

func (s *Spawner) proveCage(ctx context.Context, c Command, l cgroup.Limits) error {
	p, err := s.Start(ctx, c)
	if err != nil {
		return err
	}
	placed := s.provePlace(p, c.ID)
	p.End(outcome.Killed)
	if err := awaitGone(ctx, p); err != nil {
		return errors.Join(placed, err)
	}
	o := p.Outcome()
	return errors.Join(placed, o.Err, proveLimit("memory.max", l.MemoryMax, o.Receipt.MemoryMaxBytes),
		proveLimit("pids.max", l.PidsMax, o.Receipt.PidsMax))
}

// provePlace asks the kernel twice where the child is.
func (s *Spawner) provePlace(p *Process, id string) error {
	at, err := hostinfo.Host.Group(p.PID())
	if err != nil {
		return err
	}
	if !strings.HasSuffix(at, "/"+id) {
		return fmt.Errorf("child %d is in cgroup %q instead of %q", p.PID(), at, id)
	}
	if err := s.proveSandbox(p.PID()); err != nil {
		return err
	}
	procs, err := p.group.Procs()
	if err != nil {
		return err
	}
	if len(procs) != 1 || procs[0] != p.PID() {
		return fmt.Errorf("group %s holds %v instead of %d", id, procs, p.PID())
	}
	return nil
}

// proveSandbox asks the kernel whether a child wears what it can't take off.
func (s *Spawner) proveSandbox(pid int) error {
	is, err := procinfo.Host.Status(pid)
	switch {
	case err != nil:
		return err
	case !is.NoNewPrivs:
		return fmt.Errorf("child %d may gain privileges: its status lacks NoNewPrivs: 1", pid)
	case s.launcher.State().Filter && is.Seccomp != unix.SECCOMP_MODE_FILTER:
		return fmt.Errorf("child %d has no seccomp filter: its status lacks Seccomp: %d", pid, unix.SECCOMP_MODE_FILTER)
	}
	return nil
}

func proveLimit(file string, want int64, got *uint64) error {
	switch {
	case want == 0:
		return nil
	case got == nil:
		return fmt.Errorf("%s: can't be read back", file)
	case *got != uint64(want):
		return fmt.Errorf("%s: %d in force instead of %d", file, *got, want)
	}
	return nil
}

func awaitGone(ctx context.Context, p *Process) error {
	select {
	case <-p.Gone():
		return nil
	case <-ctx.Done():
		p.End(outcome.Killed)
		return fmt.Errorf("child %d and its group are not gone: %w", p.PID(), ctx.Err())
	}
}

// outputPatience is how long a program that was killed is waited for.
const outputPatience = time.Second

// Output runs a program outside of any group, as an operator would by hand, and
// gives what it prints. It and what it started is ended with ctx. user is nil for
// our own. For checks only: a daemon's own children are started in groups.
func Output(ctx context.Context, argv, env []string, user *syscall.Credential) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = env, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: user}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = outputPatience
	out, err := cmd.CombinedOutput()
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		if text := strings.TrimSpace(string(out)); text != "" {
			err = fmt.Errorf("%w: %.200s", err, text)
		}
		return "", fmt.Errorf("ask %s: %w", argv[0], err)
	}
	return string(out), nil
}
