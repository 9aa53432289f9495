package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"penstock/cmd/penstock/check"
)

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
		c, err := s.load()
		r, err := check.Run(ctx, check.Input{Config: c, Err: err, Version: readBuild().Version, Nap: nap()})
		if err != nil {
			return err
		}
		if *asJSON {
			e := json.NewEncoder(a.stdout)
			e.SetIndent("", "  ")
			err = e.Encode(r)
		} else {
			err = r.Print(a.stdout)
		}
		if err == nil && !r.OK {
			return exitCode(exitFailed)
		}
		return err
	})
	return cmd
}
