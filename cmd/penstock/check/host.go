package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"penstock/cgroup"
	"penstock/cgroup/root"
	"penstock/cmd/penstock/terminal"
	"penstock/config"
	"penstock/sandbox"
	"penstock/server"
)

func hostFindings(host root.Report, mode cgroup.Mode) []Finding {
	var all []Finding
	for _, f := range host.Facts {
		needed := f.Needed == cgroup.Available || (f.Needed == cgroup.Strict && mode == cgroup.Strict)
		all = append(all, Finding{Area: "host", Name: f.Name, OK: f.OK, Advice: !f.OK && !needed, Detail: f.Detail, Remedy: f.Remedy})
	}
	return all
}

// rootFindings tells of each way to a root of groups: the one that serve would
// take, those that are open too, and why the others are closed. None has to be
// open where a daemon runs: that one may have it.
func rootFindings(host root.Report, mode cgroup.Mode, running bool) []Finding {
	chosen, open := host.Chosen(mode)
	var all []Finding
	for _, w := range host.Sources {
		w = w.In(mode)
		f := Finding{Area: "root", Name: w.Name, OK: w.OK, Advice: !w.OK && (open || running), Detail: w.Detail, Remedy: w.Remedy}
		switch {
		case w.OK && w.Name == chosen.Name:
			f.Detail = "serve would make its " + w.Detail
		case w.OK:
			f.Detail = "open too: " + w.Detail
		}
		all = append(all, f)
	}
	return all
}

func isolationFinding(host root.Report, mode cgroup.Mode) Finding {
	f := Finding{Area: "isolation", Name: string(mode), OK: host.Supports(mode)}
	switch {
	case f.OK:
		f.Detail = strings.TrimPrefix(LimitHolders(host), "limits: ")
	case mode == cgroup.Strict && host.Supports(cgroup.Available):
		f.Detail = "the kernel can't hold memory and pids here"
		f.Remedy = `mend what is missing above, or set isolation.mode = "available"`
	default:
		f.Detail = "no groups can be made here, and without them nothing is started"
		f.Remedy = "mend what is missing above"
	}
	return f
}

// addIsolation tells what would hold runs here, and tries it.
func (r *Report) addIsolation(ctx context.Context, in Input, host root.Report) {
	mode := cgroup.Mode(in.Config.Isolation.Mode)
	if _, open := host.Chosen(mode); r.Running && !open {
		r.add(rootHeldFinding(mode))
	} else {
		r.add(isolationFinding(host, mode))
		if !r.Running { // its groups are not to be touched, and it has passed
			f, held := selfTestFinding(ctx, server.DryRun{Config: in.Config}, host, in.Nap)
			r.add(f)
			r.Enforced = cmp.Or(held, r.Enforced)
		}
		r.add(storeFinding(in.Config.StateDir))
	}
	r.add(hideFinding(in.Config.Isolation.Hide))
}

// rootHeldFinding stands for the outlook on isolation where the daemon that runs has
// the only place for groups.
func rootHeldFinding(mode cgroup.Mode) Finding {
	return Finding{Area: "isolation", Name: string(mode), Advice: true,
		Detail: "the daemon that runs has the place for groups: who holds what for it is in its /health"}
}

// selfTestFinding makes groups where serve would, and takes the self-test there; held is
// what holds limits then, nil where that wasn't tried.
func selfTestFinding(ctx context.Context, t server.DryRun, host root.Report, nap []string) (f Finding, held *cgroup.Enforced) {
	f = Finding{Area: "isolation", Name: "self-test", OK: true}
	if !host.Supports(cgroup.Mode(t.Config.Isolation.Mode)) {
		f.OK, f.Detail, f.Remedy = false, "it would fail: no groups can be made here as isolation.mode wants them", "mend what is missing above"
		return f, nil
	}
	is, enforced, err := t.Isolation(ctx, nap)
	switch {
	case errors.Is(err, cgroup.ErrLive):
		f.refuse(err, "ask that daemon: penstock ps")
		f.Advice = true
		return f, nil
	case err != nil:
		f.refuse(err, "look which step it names: most often a seccomp profile without clone3 (RestrictNamespaces= in a unit, an old container engine)")
		return f, nil
	case is.SelfTest == "off":
		f.OK, f.Advice, f.Detail = false, true, "switched off: serve starts without proof that a run can be caged and ended"
		f.Remedy = "set isolation.self_test = true"
	case strings.HasPrefix(is.Escape, "none: "):
		f.OK, f.Advice, f.Detail = false, true, "runs could write to cgroups: escape proofing "+is.Escape
		f.Remedy = "run as root, or on a kernel with Landlock"
	default:
		f.Detail = "a real child was born in a throw-away group, held there and ended: " + is.Escape
	}
	return f, &enforced
}

// unheldFindings foretells the limits that serve refuses to start with; held is nil
// where nothing is started at all.
func unheldFindings(held *cgroup.Enforced, c config.Config) []Finding {
	if held == nil {
		return nil
	}
	var all []Finding
	for _, u := range server.UnenforcedLimits(c, *held) {
		all = append(all, Finding{Area: "limits", Name: u.Key, Detail: u.Cause, Remedy: u.Remedy})
	}
	return all
}

// hideFinding tells what of isolation.hide can't be looked at.
func hideFinding(paths []string) Finding {
	f := Finding{Area: "isolation", Name: "hide", OK: true, Detail: terminal.Count(len(paths), "path", "paths")}
	late, tooMany := sandbox.CheckMaskPaths(sandbox.MaskPaths{Paths: paths})
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
	return f
}

// LimitHolders tells what holds the limits. The kernel always does the killing:
// without that the daemon does not start.
func LimitHolders(host root.Report) string {
	if host.Supports(cgroup.Strict) {
		return "limits: memory, pids and kill are held by the kernel"
	}
	var why []string
	for _, f := range host.Facts {
		if !f.OK && f.Needed == cgroup.Strict {
			why = append(why, f.Name)
		}
	}
	return "limits: kill is the kernel's; memory and pids are held by our own watch, for want of: " + strings.Join(why, ", ")
}
