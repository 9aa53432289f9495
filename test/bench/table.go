package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// section begins a row in the output.
func (b *bench) section(r row) {
	fmt.Printf("\n%s: %s\n", r.name, r.about)
}

// note is said once below the figures of the row.
func (b *bench) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(b.notes, text) {
		b.notes = append(b.notes, text)
	}
}

// printNew prints the figures that were added since it was called last: medians,
// with the first and third quartile in brackets.
func (b *bench) printNew() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	head := []string{"", "unit", "anchor", "of anchor", "penstock", "ratio"}
	if b.before != "" {
		head = append(head, "before", "ratio before")
	}
	line(w, append(head, "goal"))
	for _, f := range b.figures[b.shown:] {
		for _, cells := range b.lines(f) {
			line(w, cells)
		}
	}
	_ = w.Flush()
	b.shown = len(b.figures)
	for _, n := range b.notes {
		fmt.Println("  " + n)
	}
	b.notes = nil
}

func line(w *tabwriter.Writer, cells []string) {
	fmt.Fprintln(w, "  "+strings.Join(cells, "\t"))
}

// lines are those of a figure: one for each anchor, or one without.
func (b *bench) lines(f *figure) (all [][]string) {
	anchors := f.beside
	if len(anchors) == 0 {
		anchors = []beside{{"", f.goal}}
	}
	name := f.name
	for i, a := range anchors {
		if i > 0 {
			name = ""
		}
		cells := []string{name, f.unit, a.side, f.cell(a.side)}
		cells = append(cells, f.cell(now), f.ratioCell(now, a.side))
		if b.before != "" {
			cells = append(cells, f.cell(before), f.ratioCell(before, a.side))
		}
		all = append(all, append(cells, a.goal))
	}
	return all
}

// cell is what was measured of a side, if it was.
func (f *figure) cell(side string) string {
	switch {
	case side == "":
		return ""
	case len(f.samples[side]) == 0:
		return "not run"
	}
	return quartilesOf(f.samples[side]).String()
}

func (f *figure) ratioCell(side, anchor string) string {
	ratios := f.ratios(side, anchor)
	if len(ratios) == 0 {
		return ""
	}
	q := quartilesOf(ratios)
	return fmt.Sprintf("%.2fx [%.2f %.2f]", q[1], q[0], q[2])
}
