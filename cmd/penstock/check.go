package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"penstock/cgroup"
	"penstock/config"
	"penstock/server"
	"penstock/systemd"
)

// finding is one line of the report. A finding that is not OK fails the check,
// unless it is only advice.
type finding struct {
	Area   string `json:"area"` // config, systemd, listen, state, tokens, limits, host, root, isolation, backend
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Advice bool   `json:"advice,omitempty"` // works, though not as well
	Detail string `json:"detail,omitempty"`
	Remedy string `json:"remedy,omitempty"`
}

// checkup is the whole report.
type checkup struct {
	OK       bool      `json:"ok"`
	Running  bool      `json:"running"` // a daemon has the state directory
	Version  string    `json:"version"`
	Findings []finding `json:"findings"`
	// Ways are the places the root of groups may come from, in the order of serve.
	Ways []cgroup.Source `json:"ways"`
	// Enforced is what would hold the limits; null where nothing can be started.
	Enforced *cgroup.Enforced `json:"enforced"`
}

func (a *app) checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Do all that serve does, short of serving, and report",
		Long: "Does all that serve does, short of serving, and reports. A line is ok, note (something is less than it\n" +
			"could be; serve starts all the same) or FAIL (it would not), with the remedy below it. It takes the\n" +
			"self-test, in groups of its own that are gone when it ends. It answers for the shell it is called in,\n" +
			"its user, environment and cgroup, which are not those of a unit; beside a daemon that runs it fails,\n" +
			"since port and state directory are taken, and leaves its groups alone.",
		Args: cobra.NoArgs,
	}
	s := addSettings(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print the report as JSON")
	cmd.RunE = a.work(func(ctx context.Context) error {
		r, err := a.check(ctx, s)
		if err != nil {
			return err
		}
		if *asJSON {
			e := json.NewEncoder(a.stdout)
			e.SetIndent("", "  ")
			err = e.Encode(r)
		} else {
			err = r.print(a.stdout)
		}
		if err == nil && !r.OK {
			return exitCode(exitFailed)
		}
		return err
	})
	return cmd
}

// check looks at everything it can, whatever was wrong before.
func (a *app) check(ctx context.Context, s *settings) (checkup, error) {
	r := checkup{Version: readBuild().Version, Ways: []cgroup.Source{}}
	c, err := s.load()
	trial := server.Trial{Config: c}
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		for _, p := range problems {
			r.Findings = append(r.Findings, finding{Area: "config", Name: "problem", Detail: p.String()})
		}
	case err != nil:
		return r, err
	default:
		from := c.File
		if from == "" {
			from = "no file: built-in defaults"
		}
		r.Findings = append(r.Findings, finding{Area: "config", Name: "file", OK: true, Detail: from})
		if _, err := systemd.NewWatchdog(); err != nil {
			f := finding{Area: "systemd", Name: "watchdog"}
			f.refuse(err, "take WATCHDOG_USEC and WATCHDOG_PID out of the environment")
			r.Findings = append(r.Findings, f)
		}
		r.Findings = append(r.Findings, checkListen(trial)...)
		state, running := checkState(trial)
		r.Running = running
		r.Findings = append(r.Findings, state, checkTokens(c))
	}
	mode := cgroup.Mode(c.Isolation.Mode)
	if err != nil {
		mode = cgroup.Available // no configuration: the default
	}
	host, hostErr := cgroup.Inspect(ctx, c.GroupName())
	if hostErr != nil {
		return r, hostErr
	}
	r.Findings = append(r.Findings, checkHost(host, mode)...)
	r.Findings = append(r.Findings, checkRoot(host, mode, r.Running)...)
	for _, w := range host.Sources {
		r.Ways = append(r.Ways, w.In(mode))
	}
	if chosen, ok := host.Chosen(mode); ok {
		r.Enforced = chosen.Enforced
	}
	if err == nil {
		if _, open := host.Chosen(mode); r.Running && !open {
			r.Findings = append(r.Findings, checkHeld(mode))
		} else {
			r.Findings = append(r.Findings, checkIsolation(host, mode))
			if !r.Running { // its groups are not to be touched, and it has passed
				f, held := checkCage(ctx, trial, host)
				r.Findings = append(r.Findings, f)
				r.Enforced = cmp.Or(held, r.Enforced)
			}
			r.Findings = append(r.Findings, checkStore(c.StateDir))
		}
		r.Findings = append(r.Findings, checkHide(c.Isolation.Hide)...)
		r.Findings = append(r.Findings, checkCaps(r.Enforced, c)...)
		r.Findings = append(r.Findings, checkAbove(c, known(cgroup.MemoryAbove()), known(cgroup.TasksAbove()))...)
		for _, name := range slices.Sorted(maps.Keys(c.Backends)) {
			r.Findings = append(r.Findings, checkBackend(trial, c.Backends[name]))
			r.Findings = append(r.Findings, checkUser(c.Backends[name], c.StateDir)...)
		}
	}
	if err == nil {
		checkVersions(ctx, r.Findings, c.Backends)
	}
	r.OK = !slices.ContainsFunc(r.Findings, func(f finding) bool { return !f.OK && !f.Advice })
	return r, nil
}

// checkBackend fails on what would stop the daemon; a program that isn't
// there only leaves its backend out.
func checkBackend(t server.Trial, b config.Backend) finding {
	f := finding{Area: "backend", Name: b.Name, OK: true, Detail: strings.Join(b.Command, " ")}
	if b.Missing != "" {
		f.OK, f.Advice, f.Detail = false, true, b.Missing
		if b.Configured {
			f.Remedy = "install it, or set backends." + b.Name + ".command"
		}
	}
	if err := t.Backend(b.Name); err != nil {
		f.Advice = false
		f.refuse(err, "mend backends."+b.Name)
	}
	return f
}

// refuse makes a failure of what serve would say. The hint in it, where there is
// one, is the remedy.
func (f *finding) refuse(err error, remedy string) {
	f.OK, f.Detail, f.Remedy = false, err.Error(), remedy
	for _, lead := range []string{"listen: ", f.Name + ": ", "state directory: "} {
		f.Detail = strings.TrimPrefix(f.Detail, lead)
	}
	if before, hint, ok := strings.Cut(f.Detail, " (hint: "); ok {
		if hint, rest, ok := strings.Cut(hint, ")"); ok {
			f.Detail, f.Remedy = before+rest, hint
		}
	}
}
