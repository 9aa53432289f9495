package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"penstock/test/escape/task"
)

// askWays have somebody else start the marked process.
func askWays() map[string]func(*attempt) error {
	all := map[string]func(*attempt) error{
		"systemd-run":                          func(a *attempt) error { return a.systemdRun() },
		"systemd-run --user":                   func(a *attempt) error { return a.systemdRun("--user") },
		"StartTransientUnit: system bus":       func(a *attempt) error { return a.transient("/run/dbus/system_bus_socket", true) },
		"StartTransientUnit: systemd's socket": func(a *attempt) error { return a.transient("/run/systemd/private", false) },
		"StartTransientUnit: user bus":         func(a *attempt) error { return a.transient(a.runtime("bus"), true) },
		"StartTransientUnit: user's socket":    func(a *attempt) error { return a.transient(a.runtime("systemd/private"), false) },
		"another user's service manager":       otherManager,
		"abstract socket":                      func(a *attempt) error { return a.ask("unix", "@"+a.Abstract) },
		"socket at a path of no fame":          func(a *attempt) error { return a.ask("unix", a.Path) },
		"TCP on the loopback":                  func(a *attempt) error { return a.ask("tcp", a.TCP) },
		"at command":                           atCommand,
		"at's spool":                           func(a *attempt) error { return a.leave("/var/spool/cron/atjobs", "/var/spool/at") },
		"cron's spool":                         func(a *attempt) error { return a.leave("/var/spool/cron/crontabs", "/var/spool/cron") },
		"/etc/cron.d":                          func(a *attempt) error { return a.leave("/etc/cron.d") },
		"a script everybody's shells run":      func(a *attempt) error { return a.leave("/etc/profile.d") },
		"set-user-ID program":                  setuid,
		"socket of an engine started later":    func(a *attempt) error { return a.ask("unix", task.LateSocket) },
	}
	for _, name := range task.SocketNames() {
		all["socket of "+name] = func(a *attempt) error { return a.ask("unix", task.SocketPath(name, os.Getuid())) }
	}
	return all
}

func (a *attempt) runtime(name string) string {
	return filepath.Join("/run/user", strconv.Itoa(os.Getuid()), name)
}

// ask sends the token to somebody who starts a marked process for it.
func (a *attempt) ask(network, address string) error {
	conn, err := net.DialTimeout(network, address, 2*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(conn, a.Token); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1)) // started
	return err
}

func (a *attempt) systemdRun(flags ...string) error {
	c := exec.Command("/usr/bin/systemd-run", append(flags, "--quiet", "--collect", "--unit=escape-"+a.Token, a.self, task.Linger, a.Token)...)
	c.Env = []string{"XDG_RUNTIME_DIR=" + a.runtime("")}
	return runWith(c)
}

// otherManager becomes a user who has a service manager, and asks that.
func otherManager(a *attempt) error {
	if a.ManagerOf == 0 {
		return errors.New("no user here has a service manager")
	}
	if err := errors.Join(unix.Setregid(a.ManagerOf, a.ManagerOf), unix.Setreuid(a.ManagerOf, a.ManagerOf)); err != nil {
		return err
	}
	return first(
		func() error { return a.transient(a.runtime("systemd/private"), false) },
		func() error { return a.transient(a.runtime("bus"), true) })
}

func atCommand(a *attempt) error {
	return shell(`echo "$1 $2 $3" | at now`, a.self, task.Linger, a.Token)
}

// leave puts a file with the token where somebody else's programs look for work.
func (a *attempt) leave(dirs ...string) error {
	line := fmt.Sprintf("* * * * * root %s %s %s\n", a.self, task.Linger, a.Token)
	var errs []error
	for _, dir := range dirs {
		err := os.WriteFile(filepath.Join(dir, "escape-"+a.Token), []byte(line), 0o600)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// setuid runs a program of root's that would join any group for whoever asks.
func setuid(a *attempt) error {
	return run(a.Setuid, append([]string{"join", a.Token}, a.targets()...)...)
}

// uncoverSockets looks below whatever hides them, as root of a user namespace.
func uncoverSockets(a *attempt) error {
	var errs []error
	for _, name := range task.SocketNames() {
		path := task.SocketPath(name, a.Uid)
		for dir := path; dir != "/"; dir = filepath.Dir(dir) {
			for range 3 {
				if unix.Unmount(dir, unix.MNT_DETACH) != nil {
					break
				}
			}
		}
		err := a.ask("unix", path)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
		if dir, err := a.point(); err == nil && unix.Mount("/run", dir, "", unix.MS_BIND, "") == nil {
			if err = a.ask("unix", filepath.Join(dir, filepath.Base(path))); err == nil {
				return nil
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
