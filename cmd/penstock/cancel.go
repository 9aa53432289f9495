package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"penstock/client"
	"penstock/cmd/penstock/terminal"
)

// cancelWait is how long a run's end is waited for: it has its grace.
const cancelWait = time.Minute

func (a *app) cancelCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cancel RUN...",
		Short: "End runs, and keep queued ones from starting",
		Long: "Ends each run and all its processes, waits for that and says what became of it. A run that had ended already is\n" +
			"no failure; one that isn't there is. RUN is a run's id, or as much of its beginning or end as no other run has.",
		Args: wants(1, -1, "the id of a run"),
	}
	conn := addConnection(cmd)
	noWait := cmd.Flags().Bool("no-wait", false, "do not wait for the end")
	cmd.ValidArgsFunction = completeRuns(conn, -1)
	cmd.RunE = a.ask(conn, func(ctx context.Context, c *client.Client, args []string) error {
		failed := false
		for _, name := range args {
			text, err := cancel(ctx, c, name, *noWait)
			if told := new(client.Unreachable); errors.As(err, &told) {
				return err // it is the same for the others
			}
			if err != nil {
				fmt.Fprintln(a.stderr, "penstock:", terminal.Sanitize(conn.explain(a, err).Error(), "\n\t"))
				failed = true
				continue
			}
			fmt.Fprintln(a.stdout, terminal.OneLine(text))
		}
		if failed {
			return exitCode(exitFailed)
		}
		return nil
	})
	return cmd
}

// cancel ends one run and says what happened.
func cancel(ctx context.Context, c *client.Client, name string, noWait bool) (string, error) {
	r, err := c.Find(ctx, name)
	if err != nil {
		return "", err
	}
	r, over, err := c.Cancel(ctx, r.ID)
	switch {
	case err != nil:
		return "", err
	case over:
		return fmt.Sprintf("%s: had ended: %s", r.ID, terminal.Ending(r)), nil
	case r.State == client.Queued:
		return r.ID + ": cancelled in the queue, never started", nil
	case noWait:
		return r.ID + ": is being ended", nil
	}
	ctx, stop := context.WithTimeoutCause(ctx, cancelWait, fmt.Errorf("%s: is being ended, and still there after %s", r.ID, cancelWait))
	defer stop()
	if r, err = c.Wait(ctx, r.ID); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s: %s", r.ID, terminal.Ending(r)), nil
}
