package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"penstock/outcome"
	"penstock/spawn"
)

const program = "/bin/true"

// spawning compares starting and fully ending one process three ways.
func spawning(rounds int) error {
	ctx := context.Background()
	var options spawn.Options
	options.Cgroup = spawn.GroupOptions{Mode: "available", Name: fmt.Sprintf("penstock-bench-%d", os.Getpid())}
	s, err := spawn.Open(ctx, options)
	if err != nil {
		return err
	}
	defer s.Close(ctx)
	limits := spawn.Resources(spawn.Limits{MemoryMax: 256 << 20, PidsMax: 64})
	var steps []outcome.Outcome
	variants := []struct {
		name string
		once func(i int) error
	}{
		{"bare exec", func(int) error { return exec.Command(program).Run() }},
		{"process group, no cgroup", processGroup},
		{"cold run in its own group", func(i int) error {
			p, err := s.Start(ctx, spawn.Command{ID: fmt.Sprintf("bench-%d", i), Argv: []string{program}, Dir: "/", Limits: limits})
			if err != nil {
				return err
			}
			<-p.Gone()
			o := p.Outcome()
			steps = append(steps, o)
			return o.Err
		}},
	}
	took := make([][]time.Duration, len(variants))
	ratio := make([][]float64, len(variants))
	for i := range rounds {
		round := make([]time.Duration, len(variants))
		for k := range variants {
			// Each comes first in turn: what a run leaves the kernel to do in
			// the background must not always be its neighbour's burden.
			k = (k + i) % len(variants)
			begun := time.Now()
			if err := variants[k].once(i); err != nil {
				return fmt.Errorf("%s: %w", variants[k].name, err)
			}
			round[k] = time.Since(begun)
		}
		for k := range variants {
			took[k] = append(took[k], round[k])
			ratio[k] = append(ratio[k], float64(round[k])/float64(round[0]))
		}
	}
	isolation := s.Isolation()
	fmt.Printf("spawn and end %s, %d rounds in turn (memory and pids held by: %s)\n", program, rounds, isolation.Memory)
	fmt.Printf("  %-28s %10s %10s %10s  %s\n", "", "q1 us", "median us", "q3 us", "ratio to bare (median of pairs)")
	for k, v := range variants {
		q1, q2, q3 := quartiles(took[k])
		slices.Sort(ratio[k])
		fmt.Printf("  %-28s %10.0f %10.0f %10.0f  %.2fx\n", v.name, q1, q2, q3, ratio[k][rounds/2])
	}
	shares(steps)
	return nil
}

// shares prints how long each step of the cold runs took.
func shares(all []outcome.Outcome) {
	for _, step := range []struct {
		name string
		of   func(outcome.Outcome) time.Duration
	}{
		// Where these two meet is chance: often the parent of a vfork(2) isn't
		// scheduled again before the short-lived child has ended.
		{"group, limits, birth, exit", func(o outcome.Outcome) time.Duration { return o.Spawn + o.Exited.Sub(o.Started) }},
		{"empty, receipt, removed", func(o outcome.Outcome) time.Duration { return o.Teardown }},
	} {
		var took []time.Duration
		for _, o := range all {
			took = append(took, step.of(o))
		}
		_, median, _ := quartiles(took)
		fmt.Printf("    of it: %-26s %6.0f\n", step.name, median)
	}
}

// processGroup is what others do: a group of its own, signalled at the end.
func processGroup(int) error {
	cmd := exec.Command(program)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	err := cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // usually gone: ESRCH
	return err
}
