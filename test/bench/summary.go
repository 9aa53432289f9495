package main

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
)

// writeSummary writes every sample as a line of a Go benchmark, for benchstat:
//
//	benchstat -col /side FILE          Penstock beside its anchors
//	benchstat -filter '/side:penstock' OLD NEW   two commits
//
// A round is one line, its ratio to each anchor a unit of its own.
func (b *bench) writeSummary() error {
	if b.out == "" {
		return nil
	}
	var s strings.Builder
	fmt.Fprintf(&s, "goos: %s\ngoarch: %s\npkg: penstock/test/bench\ncpu: %s\n", runtime.GOOS, runtime.GOARCH, processor())
	for _, unit := range b.unitsWhereMoreIsBetter() {
		fmt.Fprintf(&s, "Unit %s better=higher\n", unit)
	}
	for _, f := range b.figures {
		for _, side := range slices.Sorted(maps.Keys(f.samples)) {
			f.summarize(&s, side)
		}
	}
	if err := os.WriteFile(b.out, []byte(s.String()), 0o644); err != nil {
		return fmt.Errorf("summary: %w", err)
	}
	fmt.Printf("summary: %s\n", b.out)
	return nil
}

func (f *figure) summarize(s *strings.Builder, side string) {
	for round, value := range f.samples[side] {
		fmt.Fprintf(s, "Benchmark%s/side=%s-%d\t1\t%g %s", f.name, word(side), runtime.NumCPU(), value, f.unit)
		for _, a := range f.beside {
			if to := f.samples[a.side]; side != a.side && round < len(to) && to[round] != 0 {
				fmt.Fprintf(s, "\t%g %s", value/to[round], f.ratioUnit(a.side))
			}
		}
		s.WriteByte('\n')
	}
}

// ratioUnit tells a rate's ratio, of which more is better, from one of a cost.
func (f *figure) ratioUnit(anchor string) string {
	if f.higher {
		return "rate/" + word(anchor)
	}
	return "x/" + word(anchor)
}

// word is a name without blanks, which end a field there.
func word(name string) string { return strings.ReplaceAll(name, " ", "-") }

func (b *bench) unitsWhereMoreIsBetter() []string {
	units := map[string]bool{}
	for _, f := range b.figures {
		if !f.higher {
			continue
		}
		units[f.unit] = true
		for _, a := range f.beside {
			units[f.ratioUnit(a.side)] = true
		}
	}
	return slices.Sorted(maps.Keys(units))
}
