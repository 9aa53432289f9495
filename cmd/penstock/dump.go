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
	cmd.RunE = a.work(func(context.Context) error {
		c, err := s.load()
		if err != nil {
			return a.explain(err)
		}
		return c.Dump(a.stdout)
	})
	return cmd
}
