package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"penstock/client"
)

// promptMax bounds a prompt, in bytes: the daemon takes requests of 8 MiB.
const promptMax = 8 << 20

func (a *app) runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run MODEL [PROMPT|-]",
		Short: "Ask a model, and show how its run goes on",
		Long: "Asks the daemon to run MODEL, which is BACKEND or BACKEND/MODEL, with the prompt given, or with standard input.\n" +
			"The answer goes to standard output as it comes. Where standard error is a terminal it shows the place in the\n" +
			"queue, what the run uses of its limits, the agent's tools, and at the end what it needed; -v shows these\n" +
			"anywhere, and the thinking.\n\n" +
			"Ctrl-C cancels the run and waits for its end; a second one leaves at once. A run named by --run-id belongs to\n" +
			"nobody's terminal: Ctrl-C only detaches, and the same command attaches again, also after the daemon was\n" +
			"started anew. Without it, a run ends with its connection.\n\n" +
			"The exit status is 0 for a run that completed, 1 for one that failed, 2 for a request that is wrong, 3 when\n" +
			"nothing was started (no slot, no program, the daemon drains), 4 at a limit on memory, pids or output, 5 when\n" +
			"time was up or the run stalled, 6 when somebody else cancelled it, 7 when the daemon can't be reached or the\n" +
			"connection was lost, and 130 after Ctrl-C.",
		Args: wants(1, 2, "a model, and a prompt in one argument"),
	}
	conn := addConnection(cmd)
	o := &runCall{app: a}
	f := cmd.Flags()
	f.StringVar(&o.ask.Session, "session", "", "go on with the conversation of this `name`, or begin it")
	f.StringVar(&o.ask.Cwd, "cwd", "", "`directory` to work in, on the daemon's host")
	f.StringVar(&o.ask.Effort, "effort", "", "how hard to think, such as low or high")
	f.DurationVar(&o.ask.Timeout, "timeout", 0, "end it after so long, the queue included, such as 10m")
	f.StringVar(&o.ask.RunID, "run-id", "", "`name` of a durable run, to start or to attach to")
	limits := f.StringArray("limit", nil, "a lower limit for this run: memory=512MiB, pids=100 or cpu=150%")
	f.BoolVar(&o.json, "json", false, "print the whole outcome as JSON, at the end")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "tell of tools, thinking and the end on standard error, terminal or not")
	_ = cmd.MarkFlagDirname("cwd")
	_ = cmd.RegisterFlagCompletionFunc("limit", cobra.FixedCompletions([]cobra.Completion{"memory=", "pids=", "cpu="}, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
	cmd.ValidArgsFunction = completeModels(conn)
	asked := a.ask(conn, func(ctx context.Context, c *client.Client, _ []string) error {
		o.client = c
		return o.run(ctx)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if o.ask.Limits, err = parseLimits(*limits); err != nil {
			return err
		}
		o.ask.Model = args[0]
		if o.ask.Prompt, err = a.prompt(args[1:]); err != nil {
			return err
		}
		return asked(cmd, args)
	}
	return cmd
}

// prompt is the argument, or what standard input holds.
func (a *app) prompt(args []string) (string, error) {
	if len(args) > 0 && args[0] != "-" {
		return args[0], nil
	}
	if f, ok := a.stdin.(*os.File); ok && len(args) == 0 && term.IsTerminal(int(f.Fd())) {
		return "", errors.New("a prompt is missing: give it as an argument, or - for what you type up to Ctrl-D")
	}
	text, err := io.ReadAll(io.LimitReader(a.stdin, promptMax+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("read the prompt: %w", err)
	case len(text) > promptMax:
		return "", errors.New("the prompt is over 8 MiB")
	case len(strings.TrimSpace(string(text))) == 0:
		return "", errors.New("the prompt on standard input is empty")
	}
	return string(text), nil
}

func parseLimits(given []string) (map[string]string, error) {
	names := map[string]string{"memory": "memory_max", "pids": "pids_max", "cpu": "cpu_max"}
	out := map[string]string{}
	for _, g := range given {
		name, value, ok := strings.Cut(g, "=")
		key := names[strings.TrimSuffix(name, "_max")]
		if !ok || key == "" || value == "" {
			return nil, fmt.Errorf("--limit %q: want memory=512MiB, pids=100 or cpu=150%%", g)
		}
		out[key] = value
	}
	return out, nil
}
