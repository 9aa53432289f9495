package main

import (
	"fmt"
	"strings"

	"penstock/cgroup"
	"penstock/config"
	"penstock/server"
	"penstock/spawn"
)

func checkHost(host cgroup.Report, mode cgroup.Mode) []finding {
	var all []finding
	for _, f := range host.Facts {
		needed := f.Needed == cgroup.Available || (f.Needed == cgroup.Strict && mode == cgroup.Strict)
		all = append(all, finding{Area: "host", Name: f.Name, OK: f.OK, Advice: !f.OK && !needed, Detail: f.Detail, Remedy: f.Remedy})
	}
	return all
}

// checkRoot tells of each way to a root of groups: the one that serve would
// take, those that are open too, and why the others are closed. None has to be
// open where a daemon runs: that one may have it.
func checkRoot(host cgroup.Report, mode cgroup.Mode, running bool) []finding {
	chosen, open := host.Chosen(mode)
	var all []finding
	for _, w := range host.Ways {
		w = w.In(mode)
		f := finding{Area: "root", Name: w.Source, OK: w.OK, Advice: !w.OK && (open || running), Detail: w.Detail, Remedy: w.Remedy}
		switch {
		case w.OK && w.Source == chosen.Source:
			f.Detail = "serve would make its " + w.Detail
		case w.OK:
			f.Detail = "open too: " + w.Detail
		}
		all = append(all, f)
	}
	return all
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

// checkHeld stands for the outlook on isolation where the daemon that runs has
// the only place for groups.
func checkHeld(mode cgroup.Mode) finding {
	return finding{Area: "isolation", Name: string(mode), Advice: true,
		Detail: "the daemon that runs has the place for groups: who holds what for it is in its /health"}
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
func checkCaps(host cgroup.Report, mode cgroup.Mode, c config.Config) []finding {
	chosen, ok := host.Chosen(mode)
	if !ok {
		return nil // nothing is started at all
	}
	var all []finding
	for _, u := range server.UnheldCaps(c, *chosen.Enforced) {
		all = append(all, finding{Area: "limits", Name: u.Key, Detail: u.Cause, Remedy: u.Remedy})
	}
	return all
}

// checkHide tells what of isolation.hide can't be looked at.
func checkHide(paths []string) []finding {
	f := finding{Area: "isolation", Name: "hide", OK: true, Detail: count(len(paths), "path", "paths")}
	late, tooMany := spawn.LookForDoors(spawn.Hiding{Paths: paths})
	if len(late) > 0 {
		f.OK, f.Advice = false, true
		f.Detail = "a file system doesn't answer where these lead, and runs may reach what they name: " + strings.Join(late, " ")
		f.Remedy = "mend or unmount it"
	}
	if tooMany > 0 {
		f.OK, f.Advice = false, true
		f.Detail += fmt.Sprintf("; %d names fit and are too many to be hidden", tooMany)
		f.Remedy = "look who makes them, and remove them"
	}
	return []finding{f}
}
