package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// A budget for 500 runs of the smallest cap; what sleeps needs none of it.
const restingConfig = `
[limits]
memory_max = "32MiB"
[budget]
memory = "16000MiB"
max_runs = 500
[queue]
max_waiting = 1000
[backends.rest]
kind = "exec"
command = ["/bin/sleep", "600"]
`

// resting is one daemon with streams that are open and quiet.
type resting struct {
	daemon
	idle float64 // bytes of memory without them
	open int
}

// restingRuns opens up to 500 streams whose runs sleep, and looks at what the daemon
// uses. One daemon after the other: a look at 500 runs can take all of a processor.
func (b *bench) restingRuns() error {
	f := restingFigures{
		idle: b.figure("Idle/rss", "MiB", goal("<= 25")), memory: map[int]*figure{}, share: map[int]*figure{},
	}
	f.share[100] = b.figure("Resting/runs=100", "%core", goal("<= 2"))
	f.share[500] = b.figure("Resting/runs=500", "%core", goal("<= 8"))
	for _, open := range []int{200, 500} {
		f.memory[open] = b.figure(fmt.Sprintf("Stream/open=%d", open), "KiB/stream", goal("<= 48"))
	}
	f.calls = b.figure("RestingCalls/runs=500", "calls/run/s", goal("<= 1 where the kernel holds limits"))
	f.scrape = b.figure("Scrape/runs=500", "ms", goal("<= 50"))
	dir, err := tempDir("")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, s := range b.sides() {
		d, err := startPenstock(s.binary, filepath.Join(dir, s.name), restingConfig)
		if err == nil {
			err = f.measure(&resting{daemon: daemon{s.name, d}}, b.rest)
			d.end()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

type restingFigures struct {
	idle, calls, scrape *figure
	memory, share       map[int]*figure // by the number of runs
}

func (f restingFigures) measure(r *resting, watched time.Duration) error {
	time.Sleep(2 * time.Second) // let the start's garbage go
	bytes, err := resident(r.pid())
	if err != nil {
		return err
	}
	r.idle = bytes
	f.idle.add(r.name, bytes/(1<<20))
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	client := &http.Client{Transport: &http.Transport{}}
	for _, step := range []struct {
		runs int
		do   func(*resting) error
	}{
		{100, func(r *resting) error { return f.watch(r, watched) }},
		{200, f.weigh},
		{500, f.weigh},
		{500, func(r *resting) error { return f.watch(r, watched) }},
		{500, f.scrapes},
		{500, f.count},
	} {
		if err := r.openStreams(ctx, client, step.runs-r.open, chat("rest", "x", true)); err != nil {
			return err
		}
		r.open = step.runs
		if err := step.do(r); err != nil {
			return err
		}
	}
	return nil
}

// watch takes the share of one processor, in a few windows that follow each other.
func (f restingFigures) watch(r *resting, length time.Duration) error {
	const windows = 4
	for range windows {
		used, err := processorOf(r.pid(), func() error { time.Sleep(length / windows); return nil })
		if err != nil {
			return err
		}
		f.share[r.open].add(r.name, 100*used/(length/windows).Seconds())
	}
	return nil
}

// weigh takes the memory that each open stream has added.
func (f restingFigures) weigh(r *resting) error {
	time.Sleep(3 * time.Second)
	bytes, err := resident(r.pid())
	if err != nil {
		return err
	}
	f.memory[r.open].add(r.name, (bytes-r.idle)/float64(r.open)/(1<<10))
	return nil
}

// count takes system calls.
func (f restingFigures) count(r *resting) error {
	perSecond, err := systemCalls(r.pid(), 4*time.Second)
	if errors.Is(err, errNoStrace) {
		return nil // the row says not run
	}
	f.calls.add(r.name, perSecond/float64(r.open))
	return err
}

// scrapes times GET /metrics.
func (f restingFigures) scrapes(r *resting) error {
	client := newClient(1)
	defer client.CloseIdleConnections()
	for range 50 {
		begun := time.Now()
		if _, err := r.get(client, "/metrics"); err != nil {
			return err
		}
		f.scrape.add(r.name, milliseconds(time.Since(begun)))
	}
	return nil
}
