package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock/client"
)

// ps is one call of the subcommand.
type ps struct {
	client *client.Client
	filter client.Filter
	json   bool
	every  time.Duration
	screen screen
	out    io.Writer
}

func (a *app) psCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "List live and queued runs, and what each uses of its limits",
		Long: "Lists the live and queued runs: whose they are, how long they last, and what each uses of its limits. STATE is\n" +
			"busy, stalled (no output, processor time and I/O for 30 s), ending, queued#N (its place in its client's line) or\n" +
			"queued:session (an earlier turn is not over); of an ended run it is the cause, and the figures are its peaks. On a\n" +
			"narrow terminal RUN is the end of the id, which every subcommand takes. In a pipe the columns are always the same.",
		Args: cobra.NoArgs,
	}
	d := addDoor(cmd)
	p := ps{out: a.stdout}
	f := cmd.Flags()
	all := f.BoolP("all", "a", false, "also the runs that ended lately, and why")
	watch := f.BoolP("watch", "w", false, "again and again, until q or Ctrl-C")
	f.BoolVar(&p.json, "json", false, "print the records as JSON")
	f.DurationVar(&p.every, "interval", time.Second, "how often with --watch")
	f.IntVarP(&p.filter.Limit, "limit", "n", 0, "at most so many runs, up to 1000 (default 100)")
	f.StringVar(&p.filter.Client, "client", "", "only those of one `client`")
	cmd.RunE = a.ask(d, func(ctx context.Context, c *client.Client, _ []string) error {
		p.client, p.screen = c, newScreen(a.stdout)
		if !*all {
			p.filter.State = "live"
		}
		switch {
		case p.every < 100*time.Millisecond:
			return errors.New("ps: --interval: at least 100ms")
		case !*watch:
			return p.once(ctx)
		case p.screen.terminal && !p.json:
			return p.watchScreen(ctx, a.stdin)
		}
		return p.repeat(ctx)
	})
	return cmd
}

func (p *ps) once(ctx context.Context) error {
	text, err := p.draw(ctx, 0)
	if err != nil {
		return err
	}
	_, err = io.WriteString(p.out, text)
	return err
}

// draw is the whole output, in at most so many lines; 0 is any number.
func (p *ps) draw(ctx context.Context, lines int) (string, error) {
	runs, err := p.client.Runs(ctx, p.filter)
	if err != nil {
		return "", err
	}
	if p.json {
		return asJSON(runs)
	}
	rows := rowsOf(runs, time.Now())
	if !p.screen.terminal {
		return plainTable(rows), nil
	}
	h, err := p.client.Health(ctx)
	if err != nil {
		return "", err
	}
	columns, _ := p.screen.size()
	text := p.screen.summary(h, columns) + p.screen.table(rows, columns)
	if lines > 0 {
		text = firstLines(text, lines)
	}
	return text, nil
}

func asJSON(runs []client.Run) (string, error) {
	if runs == nil {
		runs = []client.Run{}
	}
	text, err := json.MarshalIndent(runs, "", "  ")
	return string(text) + "\n", err
}

// repeat writes to what is no terminal: one listing after the other.
func (p *ps) repeat(ctx context.Context) error {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		if err := p.once(ctx); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if !p.json {
			fmt.Fprintln(p.out)
		}
	}
}

func firstLines(text string, most int) string {
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) <= most {
		return text
	}
	return strings.Join(lines[:most-1], "") + fmt.Sprintf("and %d more lines\n", len(lines)-most+1)
}
