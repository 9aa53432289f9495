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
)

// logs is one call of the subcommand.
type logs struct {
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
	d := addDoor(cmd)
	l := logs{app: a}
	f := cmd.Flags()
	f.BoolVarP(&l.follow, "follow", "f", false, "go on until the run has ended; of a queued one, wait for it")
	f.BoolVar(&l.raw, "raw", false, "print the stream of server-sent events as it is")
	f.BoolVar(&l.json, "json", false, "print the events as JSON, one a line")
	cmd.MarkFlagsMutuallyExclusive("raw", "json")
	cmd.ValidArgsFunction = completeRuns(d, 1)
	cmd.RunE = a.ask(d, func(ctx context.Context, c *client.Client, args []string) error {
		l.client = c
		return l.show(ctx, args[0])
	})
	return cmd
}

func (l *logs) show(ctx context.Context, name string) error {
	r, err := l.client.Find(ctx, name)
	if err != nil {
		return err
	}
	out := newPen(l.app.stdout)
	if r.State == client.Queued {
		if r, err = l.await(ctx, r, out); err != nil || r.State == client.Queued {
			return errors.Join(err, out.err)
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
		return out.err
	}
	return errors.Join(l.last(ctx, r.ID, out), out.err)
}

// await is for a request that has no run yet.
func (l *logs) await(ctx context.Context, r client.Run, out *pen) (client.Run, error) {
	if !l.follow {
		if !l.raw && !l.json {
			out.line(markEnd, dim, wait(r.Queue))
		}
		return r, nil
	}
	told := newPen(l.app.stderr)
	defer told.clear()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for r.State == client.Queued {
		told.show(fmt.Sprintf("%s, %s", wait(r.Queue), age(time.Since(r.Created))))
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
func (l *logs) read(s *client.Stream, out *pen) error {
	for {
		e, err := s.Next()
		if l.json && e.Raw != nil {
			out.write(string(e.Raw) + "\n")
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
		if out.err != nil {
			return out.err
		}
	}
}

// printEvent writes one event: the answer with one pen, the rest with another, nil
// for none.
func printEvent(answer, rest *pen, e client.Event) {
	answer.text(e.Text)
	if rest == nil {
		return
	}
	rest.aside(markThinking, e.Reasoning)
	if e.Tool != nil {
		rest.line(markTool, dim, toolLine(e.Tool))
	}
	if text, ok := strings.CutPrefix(e.Comment, "notice: "); ok {
		rest.line(markNotice, yellow, text)
	}
	if e.Reattached > 0 {
		rest.line(markNotice, yellow, "the connection was cut: attaching again")
	}
}

// last is how the run is now, or how it ended.
func (l *logs) last(ctx context.Context, id string, out *pen) error {
	r, err := l.client.Run(ctx, id)
	if err != nil {
		return err
	}
	if r.State != client.Finished {
		out.line(markEnd, dim, living(r))
		return nil
	}
	out.line(markEnd, causeColour(r), ending(r))
	if r.Cause != "completed" && r.Message != "" {
		out.aside(markEnd, strings.TrimRight(r.Message, "\n")+"\n")
	}
	return nil
}

func causeColour(r client.Run) string {
	if r.Cause == "completed" {
		return green
	}
	return red
}
