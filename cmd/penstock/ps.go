package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"penstock/client"
	"penstock/cmd/penstock/terminal"
)

// psCall is one call of the subcommand.
type psCall struct {
	client *client.Client
	filter client.Filter
	json   bool
	every  time.Duration
	tty    terminal.Terminal
	out    io.Writer
}

func (a *app) psCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "List live and queued runs, and what each uses of its limits",
		Long: "Lists the live and queued runs: whose they are, how long they last, and what each uses of its limits. STATE is\n" +
			"busy, stalled (no output, processor time and I/O for 30 s), ending, queued#N (its place in its client's line) or\n" +
			"queued:session (an earlier turn is not over); of an ended run it is the cause, and the figures are its peaks. The\n" +
			"columns are always the same; --watch on a terminal draws bars, and cuts them and RUN to its width: the end of an\n" +
			"id is enough for every subcommand.",
		Args: cobra.NoArgs,
	}
	conn := addConnection(cmd)
	p := psCall{out: a.stdout}
	f := cmd.Flags()
	all := f.BoolP("all", "a", false, "also the runs that ended lately, and why")
	watch := f.BoolP("watch", "w", false, "again and again, until q or Ctrl-C")
	f.BoolVar(&p.json, "json", false, "print the records as JSON")
	f.DurationVar(&p.every, "interval", time.Second, "how often with --watch")
	f.IntVarP(&p.filter.Limit, "limit", "n", 0, "at most so many runs, up to 1000 (default 100)")
	f.StringVar(&p.filter.Client, "client", "", "only those of one `client`")
	cmd.RunE = a.ask(conn, func(ctx context.Context, c *client.Client, _ []string) error {
		p.client, p.tty = c, terminal.New(a.stdout)
		if !*all {
			p.filter.State = "live"
		}
		switch {
		case p.every < 100*time.Millisecond:
			return errors.New("ps: --interval: at least 100ms")
		case !*watch:
			return p.once(ctx)
		case p.tty.IsTerminal() && !p.json:
			return p.watch(ctx, a.stdin)
		}
		return p.repeat(ctx)
	})
	return cmd
}

func (p *psCall) once(ctx context.Context) error {
	runs, err := p.client.Runs(ctx, p.filter)
	if err != nil {
		return err
	}
	if p.json {
		if runs == nil {
			runs = []client.Run{}
		}
		e := json.NewEncoder(p.out)
		e.SetIndent("", "  ")
		return e.Encode(runs)
	}
	_, err = io.WriteString(p.out, terminal.PlainTable(terminal.Rows(runs, time.Now())))
	return err
}

// repeat writes to what is no terminal: one listing after the other.
func (p *psCall) repeat(ctx context.Context) error {
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

// watch draws again and again, until q, Ctrl-C or a signal. A daemon that is
// restarted meanwhile is waited for.
func (p *psCall) watch(ctx context.Context, stdin io.Reader) (err error) {
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	keys, restore, err := terminal.Keys(stdin)
	if err != nil {
		return fmt.Errorf("ps: %w", err)
	}
	defer restore()
	leave, err := terminal.EnterScreen(p.out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave()) }()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	defer signal.Stop(resized)
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		if err := p.redraw(ctx); err != nil || ctx.Err() != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-tick.C:
		case <-resized:
		case key := <-keys:
			if key == 'q' || key == 'Q' || key == 3 || key == 4 { // Ctrl-C, Ctrl-D
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (p *psCall) redraw(ctx context.Context) error {
	columns, lines := p.tty.Size()
	text, err := p.table(ctx, columns)
	var absent *client.Unreachable
	switch {
	case errors.As(err, &absent):
		text = p.tty.Paint(terminal.Red, p.tty.Clip(fmt.Sprintf("no daemon answers at %v: trying again", absent), columns)) + "\n"
	case err != nil:
		return err
	}
	return terminal.DrawScreen(p.out, firstLines(text, lines))
}

// table is the daemon's line, and the runs with bars.
func (p *psCall) table(ctx context.Context, columns int) (string, error) {
	runs, err := p.client.Runs(ctx, p.filter)
	if err != nil {
		return "", err
	}
	h, err := p.client.Health(ctx)
	if err != nil {
		return "", err
	}
	return p.tty.Summary(h, columns) + p.tty.Table(terminal.Rows(runs, time.Now()), columns), nil
}

func firstLines(text string, most int) string {
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) <= most {
		return text
	}
	return strings.Join(lines[:most-1], "") + fmt.Sprintf("and %d more lines\n", len(lines)-most+1)
}
