package main

import (
	"fmt"
	"slices"
)

// Sides that every row knows; anchors have names of their own.
const (
	now    = "penstock"
	before = "before" // an older daemon
)

// figure is one thing that is measured, of several sides in turn.
type figure struct {
	name    string // as a benchmark's: Runs/fs=ext4/clients=16
	unit    string
	higher  bool // more is better
	beside  []beside
	goal    string // of the absolute figure; the ratios' goals are in beside
	samples map[string][]float64
}

// beside is an anchor, and what the ratio to it should be.
type beside struct{ side, goal string }

// bench is one run of this program.
type bench struct {
	options
	figures []*figure
	shown   int // how many of them are printed
	notes   []string
	daemons []daemon // of the row under way
}

func newBench(o options) (*bench, error) {
	for _, p := range []*string{&o.penstock, &o.before, &o.goJudge, &o.bridge, &o.top} {
		if err := absolute(p); err != nil {
			return nil, err
		}
	}
	return &bench{options: o}, nil
}

// sides are the daemons that are measured.
func (b *bench) sides() []side {
	all := []side{{now, b.penstock}}
	if b.before != "" {
		all = append(all, side{before, b.before})
	}
	return all
}

// side is a daemon's binary under its name.
type side struct{ name, binary string }

// figure adds one to the table.
func (b *bench) figure(name, unit string, set ...func(*figure)) *figure {
	f := &figure{name: name, unit: unit, samples: map[string][]float64{}}
	for _, s := range set {
		s(f)
	}
	b.figures = append(b.figures, f)
	return f
}

// against names an anchor and the ratio wanted.
func against(side, goal string) func(*figure) {
	return func(f *figure) { f.beside = append(f.beside, beside{side, goal}) }
}

func goal(text string) func(*figure) { return func(f *figure) { f.goal = text } }

func moreIsBetter(f *figure) { f.higher = true }

// add keeps a sample; a side has one in each round.
func (f *figure) add(side string, value float64) {
	f.samples[side] = append(f.samples[side], value)
}

// ratios are those of a side to its anchor, round by round.
func (f *figure) ratios(side, anchor string) (all []float64) {
	of, to := f.samples[side], f.samples[anchor]
	for i := range min(len(of), len(to)) {
		if to[i] != 0 {
			all = append(all, of[i]/to[i])
		}
	}
	return all
}

// quartiles are the first, the median and the third of samples.
type quartiles [3]float64

func quartilesOf(samples []float64) quartiles {
	sorted := slices.Sorted(slices.Values(samples))
	// Between two samples it is as far as its rank is between theirs.
	at := func(share float64) float64 {
		rank := share * float64(len(sorted)-1)
		low := int(rank)
		high := min(low+1, len(sorted)-1)
		return sorted[low] + (rank-float64(low))*(sorted[high]-sorted[low])
	}
	return quartiles{at(0.25), at(0.5), at(0.75)}
}

func (q quartiles) String() string {
	return fmt.Sprintf("%s [%s %s]", short(q[1]), short(q[0]), short(q[2]))
}

// short has three significant digits, and no more of whole numbers than they have.
func short(v float64) string {
	switch {
	case v >= 100 || v == 0:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
