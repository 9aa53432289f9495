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

	"golang.org/x/sys/unix"

	"penstock/client"
	"penstock/cmd/penstock/terminal"
)

// statusEvery is how often the line about a silent run is drawn anew.
const statusEvery = time.Second

// runCall is one call of `penstock run`.
type runCall struct {
	app           *app
	client        *client.Client
	ask           client.Ask
	json, verbose bool

	begun    time.Time
	stream   *client.Stream
	answer   *terminal.Printer // nil with --json
	side     *terminal.Printer // on standard error; nil where nothing is told
	thinking bool
	place    string // in the queue, as last told
	out      runResult
}

// runResult is what --json prints.
type runResult struct {
	RunID     string          `json:"run_id"`
	Model     string          `json:"model"`
	Text      string          `json:"text"`
	Reasoning string          `json:"reasoning,omitempty"`
	Finish    string          `json:"finish_reason,omitempty"`
	Usage     json.RawMessage `json:"usage,omitempty"`
	Cost      json.RawMessage `json:"cost,omitempty"`
	Error     *client.Error   `json:"error,omitempty"`
	Run       *client.Run     `json:"run,omitempty"`
}

// received is one event of the stream, or its end.
type received struct {
	event client.Event
	err   error
}

func (o *runCall) run(ctx context.Context) error {
	o.begun = time.Now()
	o.out.Model = o.ask.Model
	o.printers()
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	caught := make(chan os.Signal, 2)
	signal.Notify(caught, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer signal.Stop(caught)
	var err error
	if o.stream, err = o.client.Chat(ctx, o.ask); err != nil {
		return o.end(ctx, err)
	}
	o.out.RunID = o.stream.RunID()
	events := make(chan received)
	go forward(ctx, o.stream, events)
	err = o.follow(ctx, events, caught)
	leave()
	for range events { // the stream is the forwarder's until it has ended
	}
	o.stream.Close()
	return err
}

// printers decides what is told, and where.
func (o *runCall) printers() {
	if !o.json {
		o.answer = terminal.NewPrinter(o.app.stdout)
	}
	side := terminal.NewPrinter(o.app.stderr)
	if o.verbose || side.IsTerminal() {
		o.side = side
	}
	if o.side != nil && o.answer != nil && o.side.IsTerminal() && o.answer.IsTerminal() {
		o.side = o.answer // one terminal: both must know of the other's lines
	}
	o.thinking = o.verbose
}

// forward closes events when it is done with the stream, which is soon after ctx
// has ended.
func forward(ctx context.Context, s *client.Stream, events chan<- received) {
	defer close(events)
	for {
		e, err := s.Next()
		select {
		case events <- received{e, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// follow shows the run to its end.
func (o *runCall) follow(ctx context.Context, events <-chan received, caught <-chan os.Signal) error {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	interrupted := false
	for {
		select {
		case h, more := <-events:
			if !more {
				return o.end(ctx, context.Cause(ctx))
			}
			if h.err != nil {
				err := o.end(ctx, h.err)
				if interrupted {
					return exitCode(exitInterrupted)
				}
				return err
			}
			o.take(h.event)
			if o.answer != nil && o.answer.Err() != nil {
				return o.answer.Err() // the answer is not read: leaving ends the run
			}
		case <-tick.C:
			o.status(ctx)
		case <-caught:
			if o.ask.RunID != "" || interrupted {
				return o.leave(interrupted)
			}
			interrupted = true
			o.interrupt(ctx)
		}
	}
}

func (o *runCall) take(e client.Event) {
	if place, ok := strings.CutPrefix(e.Comment, "queued position="); ok {
		o.place = "queued, position " + place
		o.show(o.place)
	}
	if strings.HasPrefix(e.Comment, "run ") {
		o.place = ""
	}
	o.out.Reasoning += e.Reasoning
	if e.Finish != "" {
		o.out.Finish = e.Finish
	}
	if e.Usage != nil {
		o.out.Usage, o.out.Cost = e.Usage, e.Cost
	}
	if !o.thinking {
		e.Reasoning = ""
	}
	if o.answer == nil {
		o.out.Text += e.Text
		e.Text = ""
		if o.side != nil {
			printEvent(o.side, o.side, e)
		}
		return
	}
	if o.side != nil && o.side != o.answer && e.Text != "" {
		o.side.ClearStatus()
	}
	printEvent(o.answer, o.side, e)
}

// status draws a line about a run that says nothing just now.
func (o *runCall) status(ctx context.Context) {
	if o.side == nil || !o.side.IsTerminal() || o.side.InLine() {
		return
	}
	if o.place != "" {
		o.show(fmt.Sprintf("%s, %s", o.place, terminal.Age(time.Since(o.begun))))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, statusEvery)
	defer cancel()
	r, err := o.client.Run(ctx, o.out.RunID)
	switch {
	case err != nil:
		return // the stream tells what is wrong
	case r.State == client.Queued:
		o.show(fmt.Sprintf("%s, %s", terminal.Queued(r.Queue), terminal.Age(time.Since(o.begun))))
	default:
		o.show(terminal.Living(r))
	}
}

func (o *runCall) show(text string) {
	if o.side != nil {
		o.side.ShowStatus(text)
	}
}

// interrupt cancels the run; its stream tells the end.
func (o *runCall) interrupt(ctx context.Context) {
	o.say(terminal.MarkNotice, terminal.Yellow, "cancelling; once more leaves at once")
	if _, _, err := o.client.Cancel(ctx, o.out.RunID); err != nil {
		o.say(terminal.MarkNotice, terminal.Red, fmt.Sprintf("not cancelled: %v", err))
	}
}

// leave goes before the end: a run that has no name ends with its connection.
func (o *runCall) leave(cancelled bool) error {
	if o.answer != nil {
		o.answer.EndLine()
	}
	if !cancelled {
		told := terminal.NewPrinter(o.app.stderr)
		told.Line(terminal.MarkNotice, terminal.Yellow, fmt.Sprintf("detached: run %s goes on", o.out.RunID))
		told.Print(fmt.Sprintf("  penstock logs -f %s    shows it from its beginning\n  penstock cancel %s     ends it\n", o.out.RunID, o.out.RunID))
	}
	return exitCode(exitInterrupted)
}

func (o *runCall) say(mark, colour, text string) {
	if o.side != nil {
		o.side.Line(mark, colour, text)
	}
}

// end tells the end and gives the exit code; err is io.EOF for a run that completed.
func (o *runCall) end(ctx context.Context, err error) error {
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if o.answer != nil {
		o.answer.EndLine()
	}
	if o.side != nil {
		o.side.ClearStatus()
	}
	ended := o.ended(ctx)
	if ended != nil && o.side != nil {
		o.say(terminal.MarkEnd, terminal.CauseColour(*ended), terminal.Ending(*ended, terminal.Cost(o.out.Usage, o.out.Cost)...)+", "+terminal.ShortID(ended.ID))
	}
	var told *client.Error
	if errors.As(err, &told) {
		o.out.Error = told
	}
	if o.json && (o.stream != nil || told != nil) {
		if text, jsonErr := json.MarshalIndent(o.out, "", "  "); jsonErr == nil {
			fmt.Fprintln(o.app.stdout, string(text))
		}
	}
	code := exitOf(err)
	if code == exitOK || code == exitUnreachable && o.stream == nil {
		return err
	}
	fmt.Fprintln(o.app.stderr, "penstock:", terminal.Sanitize(err.Error(), "\n\t"))
	o.hint(ctx, err)
	return exitCode(code)
}

// ended is the record, where it is wanted and there is one.
func (o *runCall) ended(ctx context.Context) *client.Run {
	if o.out.RunID == "" || (o.side == nil && !o.json) {
		return nil
	}
	r, err := o.client.Run(ctx, o.out.RunID)
	if err != nil {
		return nil // it was never started
	}
	o.out.Run = &r
	return &r
}

// hint says what can be done about an error.
func (o *runCall) hint(ctx context.Context, err error) {
	var told *client.Error
	var cut *client.Cut
	switch {
	case errors.As(err, &cut) && o.ask.RunID != "":
		fmt.Fprintf(o.app.stderr, "  the run may go on: the same command attaches again\n")
	case errors.As(err, &cut):
		fmt.Fprintf(o.app.stderr, "  without --run-id a run ends with its connection\n")
	case errors.As(err, &told) && told.RetryAfter > 0:
		fmt.Fprintf(o.app.stderr, "  try again in %s\n", terminal.Age(told.RetryAfter))
	case errors.As(err, &told) && told.Code == "model_not_found":
		if all, err := o.client.Models(ctx); err == nil {
			fmt.Fprintf(o.app.stderr, "  models: %s\n", strings.Join(ready(all), " "))
		}
	case errors.As(err, &told) && told.Code == "invalid_api_key":
		fmt.Fprintf(o.app.stderr, "  --token-file or PENSTOCK_TOKEN_FILE gives the token to show\n")
	}
}
