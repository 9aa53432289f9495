package demo

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
)

// roleVariable is set in the environment of a child that the demo starts of itself;
// sleepSeconds is how long children sleep.
const (
	roleVariable = "DEMO_ROLE"
	sleepSeconds = "300"
)

func (p *program) fork(argument string) error {
	n, err := strconv.Atoi(argument)
	if err != nil || n < 0 {
		return fmt.Errorf("%q: want a number", argument)
	}
	for i := range n {
		if err := start(p.sleeper()); err != nil {
			return fmt.Errorf("child %d: %w", i+1, err)
		}
	}
	return nil
}

func (p *program) spawn(word string) error {
	switch word {
	case "/holdstdout":
		return start(p.holding(p.sleeper()))
	case "/outlive":
		return start(ownSession(p.sleeper()))
	case "/ignoreterm":
		return start(p.again("ignoreterm"))
	default:
		// The middle of a double fork: it exits at once and leaves an orphan.
		return ownSession(p.holding(p.again("daemonize"))).Run()
	}
}

// child is what the program does when it was started by itself.
func (p *program) child(role string) int {
	if err := p.play(role); err != nil {
		fmt.Fprintf(p.stderr, "demo: child %s: %v\n", role, err)
		return 1
	}
	return 0
}

func (p *program) play(role string) error {
	if err := os.Unsetenv(roleVariable); err != nil {
		return err
	}
	switch role {
	case "daemonize":
		return start(p.holding(p.sleeper()))
	case "ignoreterm":
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
		if path, err := exec.LookPath("sleep"); err == nil {
			return syscall.Exec(path, []string{"sleep", sleepSeconds}, os.Environ())
		}
	}
	seconds, err := parseDuration(sleepSeconds)
	if err != nil {
		return err
	}
	return p.sleep(seconds)
}

// sleeper is a child that sleeps. sleep(1) has one thread and no heap; a second
// copy of this program has several of both, and only stands in where there is none.
func (p *program) sleeper() *exec.Cmd {
	if path, err := exec.LookPath("sleep"); err == nil {
		return exec.Command(path, sleepSeconds)
	}
	return p.again("sleep")
}

func (p *program) again(role string) *exec.Cmd {
	cmd := exec.Command(p.self[0], p.self[1:]...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	return cmd
}

// holding gives a child our stdout, when it is a file that can be handed on.
func (p *program) holding(cmd *exec.Cmd) *exec.Cmd {
	if file, ok := p.stdout.(*os.File); ok {
		cmd.Stdout = file
	}
	return cmd
}

func ownSession(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// start starts a child that is not waited for.
func start(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}
