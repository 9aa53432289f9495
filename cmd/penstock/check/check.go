// Package check does all that serve does, short of serving, and reports.
//
//	Run -> Report of Findings, Print                 check.go
//	    addConfig: listen, state, tokens, limits     config.go
//	    host, root of groups, isolation, self-test   host.go
//	    addBackends: programs, users, versions       backend.go
//	    images, and whether runs can be in them      image.go
//	    what the installed unit lacks for that       unit.go
//
// What serve would refuse is asked of server.DryRun, by the code that refuses it.
package check

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"penstock/cgroup"
	"penstock/cgroup/root"
	"penstock/config"
	"penstock/internal/hint"
)

// Finding is one line of the report. A finding that is not OK fails the check,
// unless it is only advice.
type Finding struct {
	Area   string `json:"area"` // config, systemd, listen, state, tokens, limits, host, root, isolation, backend, image
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Advice bool   `json:"advice,omitempty"` // works, though not as well
	Detail string `json:"detail,omitempty"`
	Remedy string `json:"remedy,omitempty"`
}

// Report is the whole report.
type Report struct {
	OK       bool      `json:"ok"`
	Running  bool      `json:"running"` // a daemon has the state directory
	Version  string    `json:"version"`
	Findings []Finding `json:"findings"`
	// Ways are the places the root of groups may come from, in the order of serve.
	Ways []root.Source `json:"ways"`
	// Enforced is what would hold the limits; null where nothing can be started.
	Enforced *cgroup.Enforced `json:"enforced"`
}

// Input is what Run looks at.
type Input struct {
	Config  config.Config
	Err     error    // of its loading; problems are findings
	Version string   // of this program
	Nap     []string // what the self-test starts
}

// Run looks at everything it can, whatever was wrong before.
func Run(ctx context.Context, in Input) (Report, error) {
	r := Report{Version: in.Version, Ways: []root.Source{}}
	c, mode := in.Config, cgroup.Mode(in.Config.Isolation.Mode)
	if in.Err == nil {
		r.addConfig(c)
	} else if err := r.addProblems(in.Err); err != nil {
		return r, err
	} else {
		mode = cgroup.Available // no configuration: the default
	}
	host, err := root.Inspect(ctx, c.GroupName())
	if err != nil {
		return r, err
	}
	r.add(hostFindings(host, mode)...)
	r.add(rootFindings(host, mode, r.Running)...)
	for _, w := range host.Sources {
		r.Ways = append(r.Ways, w.In(mode))
	}
	if chosen, ok := host.Chosen(mode); ok {
		r.Enforced = chosen.Enforced
	}
	if in.Err == nil {
		r.addIsolation(ctx, in, host)
		r.add(unheldFindings(r.Enforced, c)...)
		r.add(aboveFindings(c, known(root.MemoryAbove()), known(root.TasksAbove()))...)
		r.addBackends(ctx, c)
		r.add(imageFindings(c)...)
		r.add(runtimeFindings(ctx, c)...)
		r.add(unitFindings(c, unitDirs)...)
	}
	r.OK = !slices.ContainsFunc(r.Findings, func(f Finding) bool { return !f.OK && !f.Advice })
	return r, nil
}

func (r *Report) add(f ...Finding) { r.Findings = append(r.Findings, f...) }

// refuse makes a failure of what serve would say. The hint in it, where there is
// one, is the remedy.
func (f *Finding) refuse(err error, remedy string) {
	f.OK, f.Detail, f.Remedy = false, err.Error(), remedy
	for _, lead := range []string{"listen: ", f.Name + ": ", "state directory: "} {
		f.Detail = strings.TrimPrefix(f.Detail, lead)
	}
	if message, hinted := hint.Split(f.Detail); hinted != "" {
		f.Detail, f.Remedy = message, hinted
	}
}

// PrintFindings writes one line per finding, its remedy below it.
func PrintFindings(w io.Writer, findings []Finding) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, f := range findings {
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
		again := i+1 < len(findings) && findings[i+1].Remedy == f.Remedy
		if f.Remedy != "" && !again {
			fmt.Fprintf(t, "\t\t\t-> %s\n", f.Remedy)
		}
	}
	return t.Flush()
}

// Print writes the findings and the verdict.
func (r Report) Print(w io.Writer) error {
	if err := PrintFindings(w, r.Findings); err != nil {
		return err
	}
	verdict := "ready to serve"
	switch {
	case r.Running:
		verdict = "not ready to serve: a daemon is running already, and penstock ps shows what it does"
	case slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Detail == portTaken }):
		verdict = "not ready to serve: the port is taken; by the unit, say, and then all is well: penstock ps and systemctl status penstock ask it"
	case !r.OK:
		verdict = "not ready to serve"
	}
	_, err := fmt.Fprintln(w, verdict)
	return err
}
