package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// print writes one line per finding, its remedy below it, and the verdict.
func (r checkup) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, f := range r.Findings {
		mark := "ok"
		switch {
		case !f.OK && f.Advice:
			mark = "note"
		case !f.OK:
			mark = "FAIL"
		}
		// A problem of the configuration has an excerpt of several lines.
		lines := strings.Split(f.Detail, "\n")
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", mark, f.Area, f.Name, lines[0])
		for _, more := range lines[1:] {
			fmt.Fprintf(t, "\t\t\t%s\n", more)
		}
		// One remedy for several rows is told once, after the last.
		again := i+1 < len(r.Findings) && r.Findings[i+1].Remedy == f.Remedy
		if f.Remedy != "" && !again {
			fmt.Fprintf(t, "\t\t\t-> %s\n", f.Remedy)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	verdict := "ready to serve"
	switch {
	case r.Running:
		verdict = "not ready to serve: a daemon is running already, and penstock ps shows what it does"
	case slices.ContainsFunc(r.Findings, func(f finding) bool { return f.Detail == portTaken }):
		verdict = "not ready to serve: the port is taken; by the unit, say, and then all is well: penstock ps and systemctl status penstock ask it"
	case !r.OK:
		verdict = "not ready to serve"
	}
	_, err := fmt.Fprintln(w, verdict)
	return err
}
