package spawn

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/cgroup"
	"penstock/sandbox"
)

// laps collects how long each step of a start and an end took.
type laps struct {
	last  time.Time
	steps []string
	took  map[string][]time.Duration
}

func (l *laps) begin() { l.last = time.Now() }

func (l *laps) lap(step string) {
	now := time.Now()
	if _, known := l.took[step]; !known {
		l.steps = append(l.steps, step)
	}
	l.took[step] = append(l.took[step], now.Sub(l.last))
	l.last = time.Now()
}

func median(all []time.Duration) time.Duration {
	all = slices.Clone(all)
	slices.Sort(all)
	return all[len(all)/2]
}

// BenchmarkSteps goes the way of a cold run by hand, step by step, beside a bare
// exec of the same program, and tells the medians of each as parts of the bare
// exec's, which is the only figure that two kernels have in common. "hop" is the
// way to the launcher thread without a fork; "handover" is what Start and its
// supervisor add by passing the run between goroutines: the whole less the steps.
func BenchmarkSteps(b *testing.B) {
	s := open(b, false)
	program := look(b, "true")
	limits := cgroup.Limits{}
	if s.Enforced().Memory == cgroup.Kernel {
		limits.MemoryMax, limits.PidsMax = 64<<20, 64
	}
	if s.Enforced().CPU == cgroup.Kernel {
		limits.CPUWeight = 100 // as the configuration's default has it
	}
	c := Command{Argv: []string{program}, Dir: "/", Env: os.Environ(), Limits: cgroup.Resources(limits)}
	l := &laps{took: map[string][]time.Duration{}}
	for n := 0; b.Loop(); n++ {
		bareExec(b, program, l)
		c.ID = fmt.Sprintf("bench-%d", n)
		stepByStep(b, s, c, l)
		whole(b, s, c, l)
	}
	report(b, l)
}

func bareExec(b *testing.B, program string, l *laps) {
	cmd := exec.Command(program)
	begun := time.Now()
	l.begin()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	l.lap("bare exec: fork")
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	l.lap("bare exec: program and reap")
	l.last = begun
	l.lap("bare exec")
}

func stepByStep(b *testing.B, s *Spawner, c Command, l *laps) {
	bare := filepath.Join(s.root.Path(), "runs", c.ID+"-bare")
	l.begin()
	if err := os.Mkdir(bare, 0o755); err != nil {
		b.Fatal(err)
	}
	l.lap("mkdir")
	if err := os.Remove(bare); err != nil {
		b.Fatal(err)
	}
	l.lap("rmdir of an unused one")
	c.ID += "-steps"
	g, err := s.root.NewGroup(c.ID, c.Limits)
	if err != nil {
		b.Fatal(err)
	}
	l.lap("group with its limits")
	if err := s.launcher.Do(b.Context(), func() {}); err != nil {
		b.Fatal(err)
	}
	l.lap("hop")
	first, err := s.forkExec(b.Context(), c, g)
	if err != nil {
		b.Fatal(err)
	}
	l.lap("fork")
	if err := sandbox.SetOOMScore(first.pid(), s.score); err != nil {
		b.Fatal(err)
	}
	l.lap("oom score")
	if err := g.ApplyCPU(); err != nil {
		b.Fatal(err)
	}
	l.lap("cpu limits")
	if err := first.await(b.Context()); err != nil {
		b.Fatal(err)
	}
	if e, err := first.reap(); err != nil || e != exited0 {
		b.Fatalf("%+v, %v", e, err)
	}
	l.lap("program and reap")
	if busy, err := g.Populated(); err != nil || busy {
		b.Fatalf("populated %v, %v", busy, err)
	}
	l.lap("events")
	if _, err := g.Receipt(); err != nil {
		b.Fatal(err)
	}
	l.lap("receipt")
	if err := g.Remove(b.Context()); err != nil {
		b.Fatal(err)
	}
	l.lap("rmdir")
}

func whole(b *testing.B, s *Spawner, c Command, l *laps) {
	l.begin()
	p, err := s.Start(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	<-p.Gone()
	l.lap("cold run")
	if o := p.Outcome(); o.Exit != exited0 || o.Err != nil {
		b.Fatalf("%+v", o)
	}
}

// report gives each step as a metric of its own; "_" stands for a blank.
func report(b *testing.B, l *laps) {
	bare := float64(median(l.took["bare exec"]))
	ratio := func(step string) float64 { return float64(median(l.took[step])) / bare }
	var sum float64
	for i, step := range l.steps {
		b.ReportMetric(ratio(step), fmt.Sprintf("%02d_%s", i, strings.ReplaceAll(step, " ", "_")))
		switch step {
		case "bare exec", "bare exec: fork", "bare exec: program and reap", "mkdir", "rmdir of an unused one", "hop", "cold run":
		default:
			sum += ratio(step)
		}
	}
	b.ReportMetric(ratio("cold run")-sum, "handover")
	b.ReportMetric(bare, "bare-ns")
}
