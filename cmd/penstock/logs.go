package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock/client"
	"penstock/cmd/penstock/terminal"
)

// logsCall is one call of the subcommand.
type logsCall struct {
	app               *app
	client            *client.Client
	follow, raw, json bool
}

func (a *app) logsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "logs RUN",
		Short: "Show what a run said and did",
		Long: "Shows a run's answer from its beginning, as text; lines of thinking begin with \"~\", of the agent's own tools with\n" +
			"\"*\", of notices with \"!\", and the end, with its cause and what the run needed, with \"=\". RUN is a run's id, or as\n" +
			"much of its beginning or end as no other run has.",
		Args: wants(1, 1, "the id of a run"),
	}
	conn := addConnection(cmd)
	l := logsCall{app: a}
	f := cmd.Flags()
	f.BoolVarP(&l.follow, "follow", "f", false, "go on until the run has ended; of a queued one, wait for it")
	f.BoolVar(&l.raw, "raw", false, "print the stream of server-sent events as it is")
	f.BoolVar(&l.json, "json", false, "print the events as JSON, one a line")
	cmd.MarkFlagsMutuallyExclusive("raw", "json")
	cmd.ValidArgsFunction = completeRuns(conn, 1)
	cmd.RunE = a.ask(conn, func(ctx context.Context, c *client.Client, args []string) error {
		l.client = c
		return l.show(ctx, args[0])
	})
	return cmd
}

func (l *logsCall) show(ctx context.Context, name string) error {
	r, err := l.client.Find(ctx, name)
	if err != nil {
		return err
	}
	out := terminal.NewPrinter(l.app.stdout)
	if r.State == client.Queued {
		if r, err = l.await(ctx, r, out); err != nil || r.State == client.Queued {
			return errors.Join(err, out.Err())
		}
	}
	s, err := l.client.Events(ctx, r.ID, -1)
	if err != nil {
		return err
	}
	defer s.Close()
	if l.raw {
		s.Raw(l.app.stdout)
	}
	if err := l.read(s, out); err != nil {
		return err
	}
	if l.raw || l.json {
		return out.Err()
	}
	return errors.Join(l.last(ctx, r.ID, out), out.Err())
}

// await is for a request that has no run yet.
func (l *logsCall) await(ctx context.Context, r client.Run, out *terminal.Printer) (client.Run, error) {
	if !l.follow {
		if !l.raw && !l.json {
			out.Line(terminal.MarkEnd, terminal.Dim, terminal.Queued(r.Queue))
		}
		return r, nil
	}
	told := terminal.NewPrinter(l.app.stderr)
	defer told.ClearStatus()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for r.State == client.Queued {
		told.ShowStatus(fmt.Sprintf("%s, %s", terminal.Queued(r.Queue), terminal.Age(time.Since(r.Created))))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return r, context.Cause(ctx)
		}
		var err error
		if r, err = l.client.Run(ctx, r.ID); err != nil {
			return r, err
		}
	}
	return r, nil
}

// read prints the events; a run that failed is read as well as any other.
func (l *logsCall) read(s *client.Stream, out *terminal.Printer) error {
	for {
		e, err := s.Next()
		if l.json && e.Raw != nil {
			out.Print(string(e.Raw) + "\n")
		}
		var told *client.Error
		switch {
		case errors.Is(err, io.EOF), errors.As(err, &told) && told.Code != "replay_gone":
			return nil
		case err != nil:
			return err
		case e.Comment == "caught up" && !l.follow:
			return nil
		case !l.raw && !l.json:
			printEvent(out, out, e)
		}
		if out.Err() != nil {
			return out.Err()
		}
	}
}

// printEvent writes one event: the answer with one pen, the rest with another, nil
// for none.
func printEvent(answer, rest *terminal.Printer, e client.Event) {
	answer.Text(e.Text)
	if rest == nil {
		return
	}
	rest.Aside(terminal.MarkThinking, e.Reasoning)
	if e.Tool != nil {
		rest.Line(terminal.MarkTool, terminal.Dim, terminal.ToolLine(e.Tool))
	}
	if text, ok := strings.CutPrefix(e.Comment, "notice: "); ok {
		rest.Line(terminal.MarkNotice, terminal.Yellow, text)
	}
	if e.Reattached > 0 {
		rest.Line(terminal.MarkNotice, terminal.Yellow, "the connection was cut: attaching again")
	}
}

// last is how the run is now, or how it ended.
func (l *logsCall) last(ctx context.Context, id string, out *terminal.Printer) error {
	r, err := l.client.Run(ctx, id)
	if err != nil {
		return err
	}
	if r.Cause == "" {
		out.Line(terminal.MarkEnd, terminal.Dim, terminal.Living(r))
		return nil
	}
	out.Line(terminal.MarkEnd, terminal.CauseColour(r), terminal.Ending(r))
	if r.Cause != "completed" && r.Message != "" {
		out.Aside(terminal.MarkEnd, strings.TrimRight(r.Message, "\n")+"\n")
	}
	return nil
}
