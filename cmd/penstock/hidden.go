package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"penstock/cmd/penstock/demo"
	"penstock/cmd/penstock/manual"
)

// The subcommands in this file are for the program itself and for what builds its
// package.

// demoCommand is the program behind the demo backend: it is run by the daemon.
func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "demo",
		Hidden:             true,
		Short:              "Echo a prompt and obey its commands",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.begun = true
			if code := demo.Run(cmd.Context(), a.stdin, a.stdout, a.stderr); code != 0 {
				return exitCode(code)
			}
			return nil
		},
	}
}

const napCommand = "nap"

// nap is what the self-test starts, so that it needs no program of the host's.
func nap() []string { return []string{"/proc/self/exe", napCommand} }

func (a *app) napCommand() *cobra.Command {
	return &cobra.Command{Use: napCommand + " SECONDS", Hidden: true, Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		d, err := time.ParseDuration(args[0] + "s")
		if err == nil {
			time.Sleep(d)
		}
		return err
	}}
}

// manCommand writes the manual; what builds a package calls it.
func (a *app) manCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:    "man DIRECTORY",
		Hidden: true,
		Short:  "Write the pages of the manual, as man8 and man5 below a directory",
		Args:   cobra.ExactArgs(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		write := func(context.Context) error { return manual.Write(a.root(), "penstock "+readBuild().Version, args[0]) }
		return a.work(write)(cmd, nil)
	}
	return cmd
}
