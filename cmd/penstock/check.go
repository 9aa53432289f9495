package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"penstock/backend"
	"penstock/cgroup"
	"penstock/config"
)

// finding is one line of the report. A finding that is not OK fails the check,
// unless it is only advice.
type finding struct {
	Area   string `json:"area"` // config, listen, state, tokens, limits, host, root, isolation, backend
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
	Ways []cgroup.Way `json:"ways"`
	// Enforced is who would hold the limits; null where nothing can be started.
	Enforced *cgroup.Enforced `json:"enforced"`
}

func (a *app) checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Do all that serve does, short of serving, and report",
		Long: "Does all that serve does, short of serving, and reports. A line is ok, note (something is less than it\n" +
			"could be; serve starts all the same) or FAIL (it would not), with the remedy below it. It answers for\n" +
			"the shell it is called in, its user, environment and cgroup, which are not those of a unit; beside a\n" +
			"daemon that runs it fails, since port and state directory are taken.",
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
	r := checkup{Version: readBuild().Version, Ways: []cgroup.Way{}}
	c, err := s.load()
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
		r.Findings = append(r.Findings, checkListen(c.Listen)...)
		state, running := checkState(c.StateDir)
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
	for _, w := range host.Ways {
		r.Ways = append(r.Ways, w.In(mode))
	}
	if chosen, ok := host.Chosen(mode); ok {
		r.Enforced = chosen.Enforced
	}
	if err == nil {
		if _, open := host.Chosen(mode); r.Running && !open {
			r.Findings = append(r.Findings, checkHeld(mode))
		} else {
			r.Findings = append(r.Findings, checkIsolation(host, mode), checkSelfTest(host, c.Isolation.SelfTest), checkStore(c.StateDir))
		}
		r.Findings = append(r.Findings, checkHide(c.Isolation.Hide)...)
		r.Findings = append(r.Findings, checkCaps(host, mode, c)...)
		r.Findings = append(r.Findings, checkAbove(c, known(cgroup.MemoryAbove()), known(cgroup.TasksAbove()))...)
		for _, name := range slices.Sorted(maps.Keys(c.Backends)) {
			r.Findings = append(r.Findings, checkBackend(c.Backends[name]))
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
func checkBackend(b config.Backend) finding {
	f := finding{Area: "backend", Name: b.Name, OK: true, Detail: strings.Join(b.Command, " ")}
	if b.Missing != "" {
		f.OK, f.Advice, f.Detail = false, true, b.Missing
		if b.Configured {
			f.Remedy = "install it, or set backends." + b.Name + ".command"
		}
	}
	_, err := backend.New(backend.Config{
		Name: b.Name, Kind: b.Kind, ExtraArgs: b.ExtraArgs, SetEnv: b.SetEnv, Env: b.Env, Permissions: b.Permissions,
	})
	if err != nil {
		f.OK, f.Advice, f.Detail = false, false, err.Error()
	}
	return f
}
