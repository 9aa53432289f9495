package main

import (
	"strings"

	"penstock/cgroup"
	"penstock/config"
	"penstock/server"
)

const (
	controllerFact = "controller "
	// withControllers is the one way to have them, as the manual tells it.
	withControllers = "run as a unit with Delegate=yes, on a kernel booted with cgroup v2 only: systemd.unified_cgroup_hierarchy=1"
)

func checkHost(host cgroup.Report, mode cgroup.Mode) []finding {
	var all []finding
	for _, f := range host.Facts {
		needed := f.Needed == cgroup.Available || (f.Needed == cgroup.Strict && mode == cgroup.Strict)
		row := finding{Area: "host", Name: f.Name, OK: f.OK, Advice: !f.OK && !needed, Detail: f.Detail, Remedy: f.Remedy}
		if !f.OK && strings.HasPrefix(f.Name, controllerFact) {
			row.Detail, row.Remedy = "not in cgroup v2 here (v2 has "+v2Has(f.Detail)+")", withControllers
		}
		all = append(all, row)
	}
	return all
}

// v2Has takes the list from "available in DIR: LIST".
func v2Has(detail string) string {
	if _, list, _ := strings.Cut(detail, ": "); list != "" {
		return "only: " + list
	}
	return "none"
}

func checkIsolation(host cgroup.Report, mode cgroup.Mode) finding {
	f := finding{Area: "isolation", Name: string(mode), OK: host.Supports(mode)}
	switch {
	case f.OK:
		f.Detail = strings.TrimPrefix(holders(host), "limits: ")
	case mode == cgroup.Strict && host.Supports(cgroup.Available):
		f.Detail = "the kernel can't hold memory and pids here"
		f.Remedy = `mend what is missing above, or set isolation.mode = "available"`
	default:
		f.Detail = "no groups can be made here, and without them nothing is started"
		f.Remedy = "mend what is missing above"
	}
	return f
}

// checkSelfTest is an outlook: the test itself makes groups and runs children,
// which only serve may do.
func checkSelfTest(host cgroup.Report, wanted bool) finding {
	f := finding{Area: "isolation", Name: "self-test", OK: true, Detail: "serve will run a real child in a throw-away group"}
	switch {
	case !wanted:
		f.OK, f.Advice, f.Detail = false, true, "switched off: serve starts without proof that a run can be caged and ended"
		f.Remedy = "set isolation.self_test = true"
	case !host.Supports(cgroup.Available):
		f.OK, f.Detail, f.Remedy = false, "it would fail: no groups can be made here", "mend what is missing above"
	}
	return f
}

// checkCaps foretells the limits that serve refuses to start with.
func checkCaps(host cgroup.Report, c config.Config) []finding {
	var all []finding
	for _, u := range server.UnheldCaps(c, outlook(host)) {
		all = append(all, finding{Area: "limits", Name: u.Key, Detail: u.Cause, Remedy: u.Remedy})
	}
	return all
}

// outlook is who would hold the limits, as far as reading alone can tell.
func outlook(host cgroup.Report) cgroup.Enforced {
	e := cgroup.Enforced{Memory: cgroup.Watch, Pids: cgroup.Watch, Kill: cgroup.Kernel}
	for _, f := range host.Facts {
		if !f.OK {
			continue
		}
		switch f.Name {
		case controllerFact + "memory":
			e.Memory = cgroup.Kernel
		case controllerFact + "pids":
			e.Pids = cgroup.Kernel
		case controllerFact + "cpu":
			e.CPU = cgroup.Kernel
		}
	}
	return e
}
