// Command bench prints what Penstock costs, each figure beside an anchor that does
// the least that could be called the same job, as ratios inside one run:
//
//	main.go       the list of rows      options.go   what is asked for, and can't be had
//	inturn.go     contenders one after the other, round after round: A/B/A/B
//	figure.go     what a row measures: samples by side, quartiles, ratios
//	table.go      the table for people      summary.go   the same for benchstat
//	daemon.go     the built daemon, or an anchor, as a process      process.go   what it used
//	asking.go     requests, streams, load
//	row_*.go      one row of the table each
//	anchor/       the anchors, and programs that stand in for a CLI; this program started as another
//
// A machine whose speed drifts moves both sides of a pair, so the ratio is what
// counts; the figures beside it say on what kind of machine.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"penstock/test/bench/anchor"
)

// options are what `make bench` is told by its variables.
type options struct {
	penstock, before string // the built daemons
	rows             string // "" is all
	out              string // the summary's file
	rounds, kept     int
	slice, rest      time.Duration
	goJudge, bridge  string // programs; "" isn't measured
	top, only        string // the repository; of its CLIs, "" is all
}

func main() {
	if done, err := anchor.Main(os.Args[1:]); done {
		exit(err)
	}
	var o options
	flag.StringVar(&o.penstock, "penstock", "../bin/penstock", "the daemon to measure")
	flag.StringVar(&o.before, "before", "", "an older daemon, measured in turn with it")
	flag.StringVar(&o.rows, "rows", "", "rows, comma separated; none is all: "+strings.Join(names(), " "))
	flag.StringVar(&o.out, "out", "", "file for the summary, in the format of Go benchmarks")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of each pair")
	flag.IntVar(&o.kept, "kept", 100_000, "finished runs of the row history")
	flag.DurationVar(&o.slice, "slice", time.Second, "how long a side is loaded in a round")
	flag.DurationVar(&o.rest, "rest", 20*time.Second, "how long resting runs are watched")
	flag.StringVar(&o.goJudge, "go-judge", "", "a go-judge program")
	flag.StringVar(&o.bridge, "cli-bridge", "", "a program that starts cli-bridge")
	flag.StringVar(&o.top, "top", "..", "the repository's root")
	flag.StringVar(&o.only, "clis", "", "CLIs of the row delta, comma separated; none is all")
	flag.Parse()
	cleanUpOnSignal()
	exit(measure(o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// row is one row of the table.
type row struct {
	name  string
	about string
	do    func(*bench) error
}

func rows() []row {
	return []row{
		{"runs", "HTTP runs of a trivial CLI, on the disk at hand and on tmpfs", (*bench).trivialRuns},
		{"lines", "claude's event lines from a stand-in", (*bench).eventLines},
		{"cold", "a process born, limited, ended and accounted in its group", (*bench).coldRuns},
		{"image", "the same program of the host and of an image, over HTTP", (*bench).images},
		{"trees", "a cancel until the group is removed", (*bench).trees},
		{"resting", "what runs cost that do nothing", (*bench).restingRuns},
		{"history", "what finished runs cost that are kept", (*bench).history},
		{"dialects", "one run told in each dialect", (*bench).dialects},
		{"fanout", "events of one run to many readers", (*bench).fanOut},
		{"start", "the daemon's start to its first answer", (*bench).starts},
		{"delta", "the first delta of the real CLIs", (*bench).firstDeltas},
	}
}

func names() (all []string) {
	for _, r := range rows() {
		all = append(all, r.name)
	}
	return all
}

func measure(o options) error {
	chosen, err := choose(o.rows)
	if err != nil {
		return err
	}
	b, err := newBench(o)
	if err == nil {
		err = b.check()
	}
	if err != nil {
		return err
	}
	begun := time.Now()
	var failed []error
	for _, r := range chosen {
		b.section(r)
		b.daemons = nil
		if err := r.do(b); err != nil { // the other rows are worth having
			failed = append(failed, fmt.Errorf("%s: %w", r.name, err))
			b.note("failed: %v", err)
			for _, d := range b.daemons { // all have ended
				fmt.Fprintln(os.Stderr, d.lastWords())
			}
		}
		b.printNew()
	}
	fmt.Printf("\n%s in %.0f s\n", b.machine(), time.Since(begun).Seconds())
	return errors.Join(append(failed, b.writeSummary())...)
}

func choose(list string) (chosen []row, err error) {
	if list == "" {
		return rows(), nil
	}
	for name := range strings.SplitSeq(list, ",") {
		at := -1
		for i, r := range rows() {
			if r.name == name {
				at = i
			}
		}
		if at < 0 {
			return nil, fmt.Errorf("rows: %q: not one of %s", name, strings.Join(names(), " "))
		}
		chosen = append(chosen, rows()[at])
	}
	return chosen, nil
}
