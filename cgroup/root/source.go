package root

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/cgroup/cgroupfs"
)

// rootSource is where a root may come from.
type rootSource struct {
	name string
	// probe finds what this source offers, or why it can't, and changes nothing.
	probe func(context.Context, cgroupfs.Location, Options) (candidate, error)
}

// candidate is what a source offers.
type candidate struct {
	plan        string   // "groups in ..."
	controllers []string // controllers that groups below the root would have
	// acquire makes the site and says where we stand then.
	acquire func(context.Context) (cgroupfs.Location, rootSite, error)
}

// rootSite is a root before it is set up.
type rootSite struct {
	path string // the root
	// parent is our own group where the root is made below it, else "".
	parent string
	// inherited is a root that this very process has made, before it executed
	// another program or opened it once more.
	inherited bool
}

// rootSources are in the order of Open.
func rootSources() []rootSource {
	return []rootSource{{"unit", probeUnit}, {"scope", probeScope}, {"subtree", probeSubtree}}
}

// acquired is the acquire of a site that needs nothing done.
func acquired(here cgroupfs.Location, s rootSite) func(context.Context) (cgroupfs.Location, rootSite, error) {
	return func(context.Context) (cgroupfs.Location, rootSite, error) { return here, s, nil }
}

const (
	// withControllers is where all of them are.
	withControllers = "run as a unit with Delegate=yes, on a kernel booted with cgroup v2 only: systemd.unified_cgroup_hierarchy=1"
	// orAvailable is what else is possible where strict isolation lacks controllers.
	orAvailable = ", or set isolation.mode = \"available\""
)

// remedyFor is the remedy wherever strict isolation lacks controllers.
func remedyFor(lacks, atBoot []string) string {
	for _, c := range lacks {
		if slices.Contains(atBoot, c) {
			return enableAtBoot(c) + orAvailable
		}
	}
	return withControllers + orAvailable
}

func enableAtBoot(controller string) string {
	return "take cgroup_disable=" + controller + " off the kernel's command line, and boot"
}

// errLacks is wrapped by the refusal of a source without the controllers.
var errLacks = errors.New("the kernel can't hold memory and pids")

// requireKernel refuses a candidate whose limits the kernel would not hold.
func (p candidate) requireKernel() error {
	lacks := cgroupfs.Missing(cgroupfs.Needed(), p.controllers)
	if len(lacks) == 0 {
		return nil
	}
	return cgroupfs.Refuse(remedyFor(lacks, disabledAtBoot()), "%s: %w: strict isolation needs the controllers %v, and cgroup v2 has %s there",
		p.plan, errLacks, lacks, orNone(p.controllers))
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
	have, err := cgroupfs.Controllers(path)
	if err != nil {
		return err
	}
	on, err := cgroupfs.Enabled(path)
	if err != nil {
		return err
	}
	toSwitch := slices.DeleteFunc(cgroupfs.Missing(cgroupfs.Needed(), on), func(c string) bool { return !slices.Contains(have, c) })
	if real || len(toSwitch) == 0 {
		return nil
	}
	pids, err := cgroupfs.DirectProcs(path)
	if err != nil {
		return err
	}
	if others := withoutSelf(pids); len(others) > 0 {
		return cgroupfs.ForeignProcsError(path, others)
	}
	return nil
}

// checkType foretells EOPNOTSUPP: what is made below a threaded group, or one with
// threaded ones below it, has no memory limit and takes no process.
func checkType(path string) error {
	kind, err := cgroupfs.ParseFile(path+"/cgroup.type", cgroupfs.ParseWords)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the real root
	}
	if err != nil {
		return cgroupfs.WithRemedy(err, "run as a unit with Delegate=yes")
	}
	if len(kind) == 1 && kind[0] == "domain" {
		return nil
	}
	return cgroupfs.Refuse("start penstock in a group whose cgroup.type is \"domain\": as a unit with Delegate=yes, or in a container of its own",
		"%s/cgroup.type: %q: threads of one process may be spread over the groups there, and processes can't be caged in them", path, strings.Join(kind, " "))
}

func withoutSelf(pids []int) []int {
	self := unix.Getpid()
	return slices.DeleteFunc(pids, func(pid int) bool { return pid == self })
}
