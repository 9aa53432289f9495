// Command record makes the adapters' recordings anew: it runs the real CLIs of
// test/clis against the scripted model of test/model, each through its own
// adapter (kinds.New, Command and Machine; a conversational CLI is spoken to
// with the machine's own writes), and keeps what they print on stdout:
//
//	go -C test run ./record                          # all CLIs, all scenarios
//	go -C test run ./record -cli claude,pi -scenario text,void -v
//
// Each becomes backend/testdata/<cli>/<scenario>.jsonl, with paths, ports, UUIDs
// and times replaced by fixed ones (scrub.go). -v also shows the events that the
// adapter made of each line, and stderr. The exit status is 1 when a CLI could
// not be run or gave no output; a CLI that fails as its scenario wants is fine.
//
// Run it after a CLI's version in test/clis/package.json has changed, and read
// the difference: it is what the new version changed for us.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"penstock/test/clis"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("record", flag.ExitOnError)
	top := flags.String("top", "..", "the repository's root")
	out := flags.String("out", "", "where to write, default <top>/backend/testdata")
	only := flags.String("cli", "", "CLIs, comma separated; default all")
	scenarios := flags.String("scenario", "", "scenarios, comma separated; default all")
	verbose := flags.Bool("v", false, "show events and stderr")
	if err := flags.Parse(args); err != nil {
		return err
	}
	root, err := filepath.Abs(*top)
	if err != nil {
		return err
	}
	if *out == "" {
		*out = filepath.Join(root, "backend", "testdata")
	}
	commands, err := clis.Commands(filepath.Join(root, "test", "clis"))
	if err != nil {
		return err
	}
	r := recorder{root: root, commands: commands, verbose: *verbose}
	failed := 0
	for _, cli := range chosen(*only, names(commands)) {
		for _, s := range table() {
			if !s.of(cli) || !slices.Contains(chosen(*scenarios, []string{s.name}), s.name) {
				continue
			}
			if err := r.record(ctx, cli, s, filepath.Join(*out, cli, s.name+".jsonl")); err != nil {
				fmt.Fprintf(os.Stderr, "record: %s %s: %v\n", cli, s.name, err)
				failed++
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d recordings failed", failed)
	}
	return nil
}

func names(commands map[string][]string) []string {
	var all []string
	for name := range commands {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func chosen(list string, all []string) []string {
	if list == "" {
		return all
	}
	return strings.Split(list, ",")
}
