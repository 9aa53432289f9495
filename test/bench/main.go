// Command bench prints what the cage costs, as ratios inside one run: each
// round times the variants one after the other, so that a machine whose speed
// drifts moves all of them. It starts the built daemon for the HTTP part.
//
// The goals: a full cold run (group, limits, birth, kill, empty, rmdir) at most
// 1.15 times a bare exec; an idle daemon of at most 25 MB; a scrape beside 500
// live runs in at most 50 ms.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"time"
)

func main() {
	binary := flag.String("penstock", "../bin/penstock", "the daemon to measure")
	rounds := flag.Int("rounds", 500, "rounds of the spawn part")
	seconds := flag.Int("seconds", 4, "length of each HTTP part")
	only := flag.String("only", "", "one part: spawn, serve or scrape")
	flag.Parse()
	if err := bench(*only, *binary, *rounds, time.Duration(*seconds)*time.Second); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(only, binary string, rounds int, length time.Duration) error {
	for _, part := range []struct {
		name string
		do   func() error
	}{
		{"spawn", func() error { return spawning(rounds) }},
		{"serve", func() error { return serving(binary, length) }},
		{"scrape", func() error { return scraping(binary, length) }},
	} {
		if only != "" && only != part.name {
			continue
		}
		if err := part.do(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// quartiles of durations, in microseconds.
func quartiles(d []time.Duration) (q1, q2, q3 float64) {
	slices.Sort(d)
	at := func(i int) float64 { return float64(d[i].Nanoseconds()) / 1000 }
	return at(len(d) / 4), at(len(d) / 2), at(len(d) * 3 / 4)
}
