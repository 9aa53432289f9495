package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"penstock/client"
	"penstock/cmd/penstock/terminal"
)

// Exit codes of every subcommand.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// app is what every subcommand needs of the outside.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// begun is set when a subcommand's own work starts: an error before that
	// is one of usage.
	begun bool
	// caught are signals since the first moment, see catchEarly.
	caught *signalChans
	// sinks are what stdout and stderr are written through, in a daemon.
	sinks []*sink
}

// exitCode ends the program with a code that has been explained already.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// run is the whole program as a function; it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, caught: catchEarly()}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	defer a.flush()
	var code exitCode
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(a.stderr, "penstock:", terminal.Sanitize(err.Error(), "\n\t")) // a CLI's words may be in it
	if !a.begun {
		fmt.Fprintln(a.stderr, "Try 'penstock --help'.")
		return exitUsage
	}
	return exitFailed
}

// flush waits, within a bound, for what a daemon still has to say.
func (a *app) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), sinkFlush)
	defer cancel()
	for _, s := range a.sinks {
		s.flush(ctx)
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "penstock",
		Short: "Coding agents behind one HTTP API, each run in its own cgroup",
		Long: "Penstock is a daemon that puts coding-agent command lines behind one HTTP API, which clients of OpenAI and\n" +
			"Anthropic speak. Every run is born in a cgroup of its own with hard limits on memory and processes, and is over\n" +
			"when that group is empty.",
		Version:       readBuild().String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          knownCommand,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("a subcommand is missing: serve, run, ps, logs, cancel, check, config, image, handover, reap or version")
		},
		CompletionOptions:          cobra.CompletionOptions{HiddenDefaultCmd: true},
		SuggestionsMinimumDistance: 2,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.AddCommand(a.runCommand(), a.psCommand(), a.logsCommand(), a.cancelCommand())
	root.AddCommand(a.serveCommand(), a.checkCommand(), a.configCommand(), a.imageCommand(), a.handoverCommand(), a.reapCommand(), a.versionCommand(), a.manCommand(), a.demoCommand(), a.napCommand())
	return root
}

// work wraps a subcommand's own part.
func (a *app) work(do func(context.Context) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		a.begun = true
		return do(cmd.Context())
	}
}

// knownCommand refuses a word that is no subcommand, and names those it is close to.
func knownCommand(root *cobra.Command, args []string) error {
	err := cobra.NoArgs(root, args)
	if err == nil {
		return nil
	}
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("%w: did you mean %s?", err, strings.Join(near, " or "))
	}
	return err
}

// Further exit codes of the subcommands that speak to a daemon.
const (
	exitRefused     = 3   // nothing was started, and it can be tried again
	exitLimit       = 4   // a limit on memory, pids or output
	exitTime        = 5   // timeout, stalled
	exitCancelled   = 6   // by another
	exitUnreachable = 7   // no daemon, or the connection was lost
	exitInterrupted = 130 // as a shell tells of SIGINT
)

// exitOf is the code for the end of a run; nil is its completion.
func exitOf(err error) int {
	var told *client.Error
	var cut *client.Cut
	var absent *client.Unreachable
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &cut), errors.As(err, &absent):
		return exitUnreachable
	case !errors.As(err, &told):
		return exitFailed
	}
	switch told.Code {
	case "memory_limit", "pids_limit", "output_limit":
		return exitLimit
	case "timeout", "stalled":
		return exitTime
	case "cancelled":
		return exitCancelled
	case "queue_full", "queue_timeout", "shutting_down", "start_failed", "cli_missing":
		return exitRefused
	}
	if told.Status >= 400 && told.Status < 500 && told.Type != "run_error" {
		return exitUsage // the request itself is wrong
	}
	return exitFailed
}
