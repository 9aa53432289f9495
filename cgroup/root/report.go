package root

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/cgroups/v3"
	"golang.org/x/sys/unix"

	"penstock/cgroup/cgroupfs"
	"penstock/internal/hostinfo"
)

// Fact is one line of the host report.
type Fact struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"` // what would change that; empty when OK
	// Needed is the weakest mode that can't do without it; empty is advice.
	Needed Mode `json:"needed,omitempty"`
}

// Report is what this host offers.
type Report struct {
	Facts []Fact `json:"facts"`
	// Sources are the places a root may come from, in the order of Open.
	Sources []Source `json:"ways"`
}

// Source is where a root may come from, as far as looking can tell.
type Source struct {
	Name string `json:"source"` // unit, scope or subtree
	OK   bool   `json:"ok"`
	// Detail is what would be done, or why there is none.
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"` // what would open it; empty when OK
	// Enforced is what would hold the limits; nil when not OK.
	Enforced *Enforced `json:"enforced,omitempty"`

	controllers []string // controllers
}

// In is the source as a mode sees it: strict refuses one without controllers.
func (w Source) In(mode Mode) Source {
	if w.OK && mode == Strict && !w.kernel() {
		w.OK, w.Remedy = false, remedyFor(cgroupfs.Missing(cgroupfs.Needed(), w.controllers), disabledAtBoot())
		w.Detail += ": " + errLacks.Error() + ", cgroup v2 has " + orNone(w.controllers) + " there"
		w.Enforced = nil
	}
	return w
}

func (w Source) kernel() bool {
	return w.Enforced != nil && w.Enforced.Memory == Kernel && w.Enforced.Pids == Kernel
}

// Chosen is the source that Open would take: the first whose limits the kernel
// holds, in available mode else the first that is open.
func (r Report) Chosen(mode Mode) (Source, bool) {
	i := slices.IndexFunc(r.Sources, Source.kernel)
	if i < 0 && mode == Available {
		i = slices.IndexFunc(r.Sources, func(w Source) bool { return w.OK })
	}
	if i < 0 {
		return Source{}, false
	}
	return r.Sources[i], true
}

// Supports says whether nothing that mode needs is missing and a source is open.
// It is an outlook from looking alone; only Open proves it.
func (r Report) Supports(mode Mode) bool {
	_, open := r.Chosen(mode)
	return open && !slices.ContainsFunc(r.Facts, func(f Fact) bool {
		return !f.OK && (f.Needed == Available || (f.Needed == Strict && mode == Strict))
	})
}

// Host is Inspect for a daemon of no particular name.
func Host() (Report, error) { return Inspect(context.Background(), "penstock") }

// Inspect looks at what `penstock check` shows: a daemon whose groups have that
// name. It changes nothing, and asks the service manager no more than which one it is
// and whether that daemon's scope is there. A host without cgroup v2 is a
// report, not an error.
func Inspect(ctx context.Context, name string) (Report, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return Report{}, fmt.Errorf("uname: %w", err)
	}
	r := Report{Facts: []Fact{kernelFact(unix.ByteSliceToString(uts.Release[:]))}}
	here, err := cgroupfs.FindLocation()
	if err != nil {
		r.add(Available, "cgroup2 mount", false, err.Error(), "boot with systemd.unified_cgroup_hierarchy=1")
		return r, nil
	}
	r.add(Available, "cgroup2 mount", true, fmt.Sprintf("%s (%s), own group %s", here.Mount.Point, modeName(cgroups.Mode()), here.Own), "")
	r.Sources = inspectSources(ctx, here, Options{Name: name})
	if err := r.addControllers(here); err != nil {
		return r, err
	}
	return r, r.addSwap()
}

func inspectSources(ctx context.Context, here cgroupfs.Location, o Options) []Source {
	var all []Source
	for _, w := range rootSources() {
		p, err := w.probe(ctx, here, o)
		if err == nil {
			e := enforcedBy(p.controllers)
			all = append(all, Source{Name: w.name, OK: true, Detail: p.plan, Enforced: &e, controllers: p.controllers})
			continue
		}
		shown := Source{Name: w.name, Detail: err.Error()}
		if c, ok := errors.AsType[*cgroupfs.Refusal](err); ok {
			shown.Detail, shown.Remedy = c.Reason.Error(), c.Remedy
		}
		all = append(all, shown)
	}
	return all
}

func (r *Report) add(needed Mode, name string, ok bool, detail, remedy string) {
	if ok {
		remedy = ""
	}
	r.Facts = append(r.Facts, Fact{Name: name, OK: ok, Detail: detail, Remedy: remedy, Needed: needed})
}

// kernelFact wants cgroup.kill (5.14), which shows in no file of the root group.
func kernelFact(release string) Fact {
	var major, minor int
	_, err := fmt.Sscanf(release, "%d.%d", &major, &minor)
	f := Fact{Name: "kernel", Detail: release, Needed: Available, OK: err == nil && (major > 5 || (major == 5 && minor >= 14))}
	if !f.OK {
		f.Remedy = "run Linux 5.14 or newer: cgroup.kill came with it"
	}
	return f
}

// addControllers tells of those that the chosen source would have, or our own
// group where every source is closed.
func (r *Report) addControllers(here cgroupfs.Location) error {
	w, ok := r.Chosen(Available)
	if !ok {
		have, err := cgroupfs.Controllers(here.Own)
		if err != nil {
			return err
		}
		w.controllers = have
	}
	atBoot := disabledAtBoot()
	for _, c := range cgroupfs.Wanted() {
		mode, remedy := Mode(""), withControllers
		if slices.Contains(cgroupfs.Needed(), c) {
			mode = Strict
		} else if w.Name == "scope" && os.Geteuid() != 0 {
			remedy = "let the user's manager have it: Delegate=cpu memory pids io in a drop-in of user@.service"
		}
		ok := slices.Contains(w.controllers, c)
		if slices.Contains(atBoot, c) {
			remedy = enableAtBoot(c)
		}
		r.add(mode, "controller "+c, ok, yesNo(ok, "cgroup v2 has it there", "cgroup v2 has "+orNone(w.controllers)+" there"), remedy)
	}
	r.addHugePages(slices.Contains(w.controllers, cgroupfs.Hugetlb), hugePages(hugePagesDir))
	return nil
}

const (
	unheldHugePages = "this host has some, and runs may take them: no memory limit counts them"
	remedyHugePages = "vm.nr_hugepages = 0, or a place whose cgroup v2 has hugetlb (systemd delegates none)"
)

func (r *Report) addHugePages(held, some bool) {
	r.add("", "huge pages", held || !some, yesNo(held, "runs get none", yesNo(some, unheldHugePages, "this host has none")), remedyHugePages)
}

// disabledAtBoot are the controllers that the kernel's command line switches off;
// none where it can't be read.
func disabledAtBoot() []string {
	words, _ := hostinfo.Host.BootOptions()
	return disabled(words)
}

func disabled(words []string) (all []string) {
	for _, word := range words {
		if list, ok := strings.CutPrefix(word, "cgroup_disable="); ok {
			all = append(all, strings.Split(list, ",")...)
		}
	}
	return all
}

func (r *Report) addSwap() error {
	areas, err := hostinfo.Host.SwapAreas()
	if err != nil && !cgroupfs.IsAbsent(err) {
		return err
	}
	r.add("", "swap", true, yesNo(areas == 0, "none", fmt.Sprintf("in use (%d); runs get none", areas)), "")
	return nil
}

func modeName(m cgroups.CGMode) string {
	switch m {
	case cgroups.Unified:
		return "unified"
	case cgroups.Hybrid:
		return "hybrid"
	case cgroups.Legacy:
		return "legacy"
	}
	return "mounted elsewhere"
}

func yesNo(ok bool, yes, no string) string {
	if ok {
		return yes
	}
	return no
}

const hugePagesDir = "/sys/kernel/mm/hugepages"

// hugePages tells whether a host has any, or may make some, by what lies in
// hugePagesDir.
func hugePages(dir string) bool {
	files, _ := filepath.Glob(dir + "/*/nr_*hugepages")
	return slices.ContainsFunc(files, func(file string) bool {
		n, err := cgroupfs.ParseFile(file, cgroupfs.ParseValue)
		return err == nil && n > 0
	})
}

// warnHugePages warns of those that runs may take beside their memory limits.
func (r *Root) warnHugePages(dir string) {
	held, _ := filepath.Glob(r.runs.Path + "/" + cgroupfs.Hugetlb + ".*.max")
	if len(held) == 0 && hugePages(dir) {
		r.log.Warn("huge pages: " + unheldHugePages + " (hint: " + remedyHugePages + ")")
	}
}
