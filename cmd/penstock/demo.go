package main

import "github.com/spf13/cobra"

// demoCommand is the program behind the demo backend: it is run by the daemon.
func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "demo",
		Hidden:             true,
		Short:              "Echo a prompt and obey its commands",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.begun = true
			if code := demo(cmd.Context(), a.stdin, a.stdout, a.stderr); code != 0 {
				return exitCode(code)
			}
			return nil
		},
	}
}
