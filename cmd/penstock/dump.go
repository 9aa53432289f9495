package main

import (
	"context"

	"github.com/spf13/cobra"
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
