package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// way is one place a root may come from.
type way struct {
	source string
	// look finds what this way offers, or why it is closed, and changes nothing.
	look func(context.Context, place, Options) (prospect, error)
}

// prospect is what an open way offers.
type prospect struct {
	plan string   // "groups in ..."
	has  []string // controllers that groups below the root would have
	// take makes the site and says where we stand then.
	take func(context.Context) (place, site, error)
}

// site is a root before it is set up.
type site struct {
	path string // the root
	// parent is our own group where the root is made below it, else "".
	parent string
	// inherited is a root that this very process has made, before it executed
	// another program or opened it once more.
	inherited bool
}

// ways are in the order of Open.
func ways() []way {
	return []way{{"unit", lookUnit}, {"scope", lookScope}, {"subtree", lookSubtree}}
}

// at is the take of a site that needs nothing done.
func at(here place, s site) func(context.Context) (place, site, error) {
	return func(context.Context) (place, site, error) { return here, s, nil }
}

// closedError is why a way is closed and what would open it.
type closedError struct {
	why    error
	remedy string
}

func (e *closedError) Error() string { return e.why.Error() + ": " + e.remedy }
func (e *closedError) Unwrap() error { return e.why }

func closed(remedy, format string, args ...any) error {
	return &closedError{fmt.Errorf(format, args...), remedy}
}

const (
	// withControllers is the one way to have them all.
	withControllers = "run as a unit with Delegate=yes, on a kernel booted with cgroup v2 only: systemd.unified_cgroup_hierarchy=1"
	// orWatched is the other way out where strict isolation lacks controllers.
	orWatched = ", or set isolation.mode = \"available\""
)

// remedyFor is told wherever strict isolation lacks controllers.
func remedyFor(lacks, atBoot []string) string {
	for _, c := range lacks {
		if slices.Contains(atBoot, c) {
			return enableAtBoot(c) + orWatched
		}
	}
	return withControllers + orWatched
}

func enableAtBoot(controller string) string {
	return "take cgroup_disable=" + controller + " off the kernel's command line, and boot"
}

// errLacks is wrapped by the refusal of a way that only watches limits.
var errLacks = errors.New("the kernel can't hold memory and pids")

// strictly refuses a prospect whose limits the kernel would not hold.
func (p prospect) strictly() error {
	lacks := missing(needed, p.has)
	if len(lacks) == 0 {
		return nil
	}
	return closed(remedyFor(lacks, disabledAtBoot()), "%s: %w: strict isolation needs the controllers %v, and cgroup v2 has %s there",
		p.plan, errLacks, lacks, orNone(p.has))
}

func orNone(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return "only " + strings.Join(words, " ")
}

func enforcedBy(has []string) Enforced {
	by := func(controller string, otherwise Enforcer) Enforcer {
		if slices.Contains(has, controller) {
			return Kernel
		}
		return otherwise
	}
	return Enforced{Memory: by("memory", Watch), Pids: by("pids", Watch), Kill: Kernel, CPU: by("cpu", "")}
}

// checkAlone foretells EBUSY: but for the real root, a group can't both hold
// processes and give its children controllers. We ourselves move out.
func checkAlone(path string, real bool) error {
	have, err := controllers(path)
	if err != nil {
		return err
	}
	on, err := enabled(path)
	if err != nil {
		return err
	}
	toSwitch := slices.DeleteFunc(missing(needed, on), func(c string) bool { return !slices.Contains(have, c) })
	if real || len(toSwitch) == 0 {
		return nil
	}
	pids, err := ownProcs(path)
	if err != nil {
		return err
	}
	if others := withoutSelf(pids); len(others) > 0 {
		return strangers(path, others)
	}
	return nil
}

// checkType foretells EOPNOTSUPP: what is made below a threaded group, or one with
// threaded ones below it, has no memory limit and takes no process.
func checkType(path string) error {
	kind, err := parseFile(path+"/cgroup.type", parseWords)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the real root
	}
	if err != nil {
		return asClosed(err, "run as a unit with Delegate=yes")
	}
	if len(kind) == 1 && kind[0] == "domain" {
		return nil
	}
	return closed("start penstock in a group whose cgroup.type is \"domain\": as a unit with Delegate=yes, or in a container of its own",
		"%s/cgroup.type: %q: threads of one process may be spread over the groups there, and processes can't be caged in them", path, strings.Join(kind, " "))
}

func withoutSelf(pids []int) []int {
	self := unix.Getpid()
	return slices.DeleteFunc(pids, func(pid int) bool { return pid == self })
}

// strangers refuses a group that others live in. Moving them is not ours to do.
func strangers(path string, pids []int) error {
	return closed("start penstock alone in its group (as a unit with Delegate=yes, or as the container's first program), or move the others out first: "+
		"mkdir "+path+"/init; for p in $(cat "+path+"/cgroup.procs); do echo $p >"+path+"/init/cgroup.procs; done",
		"%s: %w: pids %v live there, and a group with controllers for its children can't hold processes itself", path, ErrBusy, pids)
}

// asClosed gives an error of the kernel a remedy where it has none.
func asClosed(err error, remedy string) error {
	if _, ok := errors.AsType[*closedError](err); ok || err == nil {
		return err
	}
	return &closedError{err, remedy}
}
