package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
)

// demoRole is set in the environment of a child that the demo starts of itself;
// demoSeconds is how long children sleep.
const (
	demoRole    = "DEMO_ROLE"
	demoSeconds = "300"
)

func (p *demoProgram) fork(argument string) error {
	n, err := strconv.Atoi(argument)
	if err != nil || n < 0 {
		return fmt.Errorf("%q: want a number", argument)
	}
	for i := range n {
		if err := demoStart(p.sleeper()); err != nil {
			return fmt.Errorf("child %d: %w", i+1, err)
		}
	}
	return nil
}

func (p *demoProgram) spawn(word string) error {
	switch word {
	case "/holdstdout":
		return demoStart(p.holding(p.sleeper()))
	case "/outlive":
		return demoStart(ownSession(p.sleeper()))
	case "/ignoreterm":
		return demoStart(p.again("ignoreterm"))
	default:
		// The middle of a double fork: it exits at once and leaves an orphan.
		return ownSession(p.holding(p.again("daemonize"))).Run()
	}
}

// child is what the program does when it was started by itself.
func (p *demoProgram) child(role string) int {
	if err := p.play(role); err != nil {
		fmt.Fprintf(p.stderr, "demo: child %s: %v\n", role, err)
		return 1
	}
	return 0
}

func (p *demoProgram) play(role string) error {
	if err := os.Unsetenv(demoRole); err != nil {
		return err
	}
	switch role {
	case "daemonize":
		return demoStart(p.holding(p.sleeper()))
	case "ignoreterm":
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
		if path, err := exec.LookPath("sleep"); err == nil {
			return syscall.Exec(path, []string{"sleep", demoSeconds}, os.Environ())
		}
	}
	seconds, err := demoDuration(demoSeconds)
	if err != nil {
		return err
	}
	return p.sleep(seconds)
}

// sleeper is a child that sleeps. sleep(1) has one thread and no heap; a second
// copy of this program has several of both, and only stands in where there is none.
func (p *demoProgram) sleeper() *exec.Cmd {
	if path, err := exec.LookPath("sleep"); err == nil {
		return exec.Command(path, demoSeconds)
	}
	return p.again("sleep")
}

func (p *demoProgram) again(role string) *exec.Cmd {
	cmd := exec.Command(p.self[0], p.self[1:]...)
	cmd.Env = append(os.Environ(), demoRole+"="+role)
	return cmd
}

// holding gives a child our stdout, when it is a file that can be handed on.
func (p *demoProgram) holding(cmd *exec.Cmd) *exec.Cmd {
	if file, ok := p.stdout.(*os.File); ok {
		cmd.Stdout = file
	}
	return cmd
}

func ownSession(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// demoStart starts a child that nobody waits for.
func demoStart(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}
