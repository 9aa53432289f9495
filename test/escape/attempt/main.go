// Attempt is a program that tries one way out of a run and, where it succeeds,
// leaves a process marked by a token, a changed figure or a file behind. It
// never judges: what came of it is looked at from outside.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"penstock/test/escape/task"
)

func main() {
	if len(os.Args) > 1 {
		os.Exit(role(os.Args[1:]))
	}
	runtime.LockOSThread() // ids and namespaces are a thread's
	var t task.Task
	if err := json.NewDecoder(os.Stdin).Decode(&t); err != nil {
		fmt.Println("task:", err)
		os.Exit(2)
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	a := &attempt{Task: t, self: self}
	way, ok := ways()[t.Way]
	if !ok {
		fmt.Println("no such way:", t.Way)
		os.Exit(2)
	}
	if err := way(a); err != nil {
		fmt.Println("refused:", strings.ReplaceAll(err.Error(), "\n", "; "))
		if strings.HasPrefix(t.Way, inside) {
			os.Exit(1)
		}
		return
	}
	fmt.Println("done")
}

// role is what this binary does as somebody's child.
func role(args []string) int {
	switch args[0] {
	case task.Linger: // TOKEN: the marked process
		_ = os.Stdin.Close() // it may be the kernel's pipe
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
		time.Sleep(2 * time.Minute)
	case "chain": // TOKEN: each child starts the next and leaves
		time.Sleep(2 * time.Millisecond)
		self, _ := os.Executable()
		if _, err := start(self, nil, "chain", args[1]); err != nil {
			return 1
		}
	case "victim":
		fmt.Println("ready")
		time.Sleep(10 * time.Minute)
	case "list":
		for _, name := range names() {
			fmt.Println(name)
		}
	case "join": // TOKEN GROUP...: what a set-user-ID program of root's could do
		self, _ := os.Executable()
		a := &attempt{Task: task.Task{Token: args[1]}, self: self}
		if err := a.moveAny(args[2:]...); err != nil {
			fmt.Println(err)
			return 1
		}
	case "rooted": // TOKEN DIRECTORY: tells that it is root
		if os.Geteuid() != 0 {
			fmt.Println("not root")
			return 1
		}
		if err := os.WriteFile(filepath.Join(args[2], "escape-"+args[1]), nil, 0o600); err != nil {
			fmt.Println(err)
			return 1
		}
	case "leave":
		return 0
	}
	return 0
}

type attempt struct {
	task.Task
	self string
}

// ways are all that is known, by name.
func ways() map[string]func(*attempt) error {
	all := map[string]func(*attempt) error{}
	for _, group := range []map[string]func(*attempt) error{
		stayWays(), groupWays(), throughWays(), mountWays(), namespaceWays(), processWays(), limitWays(), askWays(), kernelWays(), imageWays(),
	} {
		for name, way := range group {
			all[name] = way
		}
	}
	return all
}

func names() []string {
	var out []string
	for name := range ways() {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// linger starts the marked process: a session of its own, no terminal, no pipe.
func (a *attempt) linger() error {
	_, err := start(a.self, &syscall.SysProcAttr{Setsid: true}, task.Linger, a.Token)
	return err
}

// start runs a program with /dev/null for all three and doesn't wait for it.
func start(program string, attr *syscall.SysProcAttr, args ...string) (int, error) {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	p, err := os.StartProcess(program, append([]string{filepath.Base(program)}, args...), &os.ProcAttr{
		Dir: "/", Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, Files: []*os.File{null, null, null}, Sys: attr,
	})
	if err != nil {
		return 0, err
	}
	return p.Pid, nil
}

// hold tells the test to look now, and waits until it has.
func (a *attempt) hold() {
	_ = os.WriteFile(a.Held(), nil, 0o666) // a stopped daemon passes no line on
	fmt.Println(task.Holding)
	for range 500 {
		if _, err := os.Stat(a.Released()); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// first tries one after the other until one succeeds.
func first(tries ...func() error) error {
	var errs []error
	for _, try := range tries {
		err := try()
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
