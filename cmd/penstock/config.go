package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"penstock/config"
)

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the effective configuration, secrets redacted",
		Args:  cobra.NoArgs,
	}
	s := addSettings(cmd)
	check := cmd.Flags().Bool("check", false, "print nothing but what is wrong with it")
	cmd.RunE = a.work(func(context.Context) error {
		c, err := s.load()
		if err != nil {
			return a.explain(err)
		}
		if *check {
			return nil
		}
		return c.Dump(a.stdout)
	})
	return cmd
}

// explain prints every problem of a configuration on its own, since the first
// line of one must be "file:line:col" for editors to follow.
func (a *app) explain(err error) error {
	var problems config.Problems
	if !errors.As(err, &problems) {
		return err
	}
	fmt.Fprintln(a.stderr, problems)
	noun := "problems"
	if len(problems) == 1 {
		noun = "problem"
	}
	fmt.Fprintf(a.stderr, "penstock: %d %s in the configuration\n", len(problems), noun)
	return exitCode(exitFailed)
}
