package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"penstock/cgroup"
	"penstock/cmd/penstock/terminal"
	"penstock/config"
	"penstock/internal/hint"
)

func (a *app) reapCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reap",
		Short: "End and remove what a daemon that died left behind",
		Long: "Ends every process in the groups of this state directory's daemon and removes the groups,\n" +
			"as the next start would. Refuses while that daemon is alive.",
		Args: cobra.NoArgs,
	}
	s := addFewSettings(cmd, "state_dir")
	cmd.RunE = a.work(func(ctx context.Context) error {
		c, err := s.load()
		if err != nil {
			return a.explain(err)
		}
		return a.reap(ctx, c)
	})
	return cmd
}

func (a *app) reap(ctx context.Context, c config.Config) error {
	release, err := lockState(c.StateDir)
	if errors.Is(err, errAlive) {
		return fmt.Errorf("reap: %w: stop it first", err)
	}
	if err != nil {
		return fmt.Errorf("reap: %w", err)
	}
	defer release()
	// Nothing is started here, so that it doesn't matter what would hold limits.
	root, err := cgroup.Open(ctx, cgroup.Options{
		Mode: cgroup.Available, Name: c.GroupName(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return fmt.Errorf("reap: %w", err)
	}
	swept, err := root.Sweep(ctx)
	if err = errors.Join(err, root.Close(context.WithoutCancel(ctx))); err != nil {
		return fmt.Errorf("reap: %w", err)
	}
	fmt.Fprintf(a.stdout, "%s: %s removed, %s ended\n", root.Path(), terminal.Count(swept.Groups, "group", "groups"), terminal.Count(swept.Processes, "process", "processes"))
	if len(swept.Left) > 0 {
		return hint.Errorf("a process in uninterruptible sleep can't be ended; try again", "reap: still there: %v", swept.Left)
	}
	return nil
}
