package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"penstock/outcome"
	"penstock/spawn"
)

const (
	program    = "/bin/true"
	coldRounds = 500
	bareExec   = "bare exec"
)

// coldRuns starts and fully ends one process through this tree's package spawn,
// without HTTP and files, beside a bare exec of it. A daemon's binary has no such
// entry: two commits are compared by their summaries.
func (b *bench) coldRuns() error {
	ctx := context.Background()
	var options spawn.Options
	options.Cgroup = spawn.GroupOptions{Mode: "available", Name: fmt.Sprintf("penstock-bench-cold-%d", os.Getpid())}
	s, err := spawn.Open(ctx, options)
	if err != nil {
		return err
	}
	defer s.Close(ctx)
	whole := b.figure("Cold", "us", against(bareExec, "<= 1.45x"))
	// Where these two meet is chance: often the parent of a vfork(2) isn't scheduled
	// again before the short-lived child has ended.
	first := b.figure("ColdStart", "us")
	last := b.figure("ColdEnd", "us")
	limits := spawn.Resources(spawn.Limits{MemoryMax: 256 << 20, PidsMax: 64})
	err = inTurn(coldRounds, []contender{
		{bareExec, func(int) error {
			begun := time.Now()
			err := exec.Command(program).Run()
			whole.add(bareExec, microseconds(time.Since(begun)))
			return err
		}},
		{now, func(round int) error {
			begun := time.Now()
			p, err := s.Start(ctx, spawn.Command{ID: fmt.Sprintf("bench-%d", round), Argv: []string{program}, Dir: "/", Limits: limits})
			if err != nil {
				return err
			}
			<-p.Gone()
			whole.add(now, microseconds(time.Since(begun)))
			o := p.Outcome()
			first.add(now, microseconds(startOf(o)))
			last.add(now, microseconds(o.Teardown))
			return o.Err
		}},
	})
	b.note("memory and pids held by: %s. ColdStart: group, limits, birth, exit; ColdEnd: empty, receipt, removed", s.Isolation().Memory)
	return err
}

func startOf(o outcome.Outcome) time.Duration { return o.Spawn + o.Exited.Sub(o.Started) }

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
