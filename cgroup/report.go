package cgroup

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/containerd/cgroups/v3"
	"golang.org/x/sys/unix"
)

// Fact is one line of the host report.
type Fact struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"` // what would mend it; empty when OK
	// Needed is the weakest mode that can't do without it; empty is advice.
	Needed Mode `json:"needed,omitempty"`
}

// Report is what this host offers.
type Report struct {
	Facts []Fact `json:"facts"`
}

// Supports says whether nothing that mode needs is missing. It is an outlook
// from reading alone; only Open proves it.
func (r Report) Supports(mode Mode) bool {
	return !slices.ContainsFunc(r.Facts, func(f Fact) bool {
		return !f.OK && (f.Needed == Available || (f.Needed == Strict && mode == Strict))
	})
}

// Host reads what `penstock check` shows. It changes nothing; a host without
// cgroup v2 is a report, not an error.
func Host() (Report, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return Report{}, fmt.Errorf("uname: %w", err)
	}
	r := Report{Facts: []Fact{kernelFact(unix.ByteSliceToString(uts.Release[:]))}}
	here, err := findPlace()
	if err != nil {
		r.add(Available, "cgroup2 mount", false, err.Error(), "boot with systemd.unified_cgroup_hierarchy=1")
		return r, nil
	}
	r.add(Available, "cgroup2 mount", true, fmt.Sprintf("%s (%s), own group %s", here.mount.point, modeName(cgroups.Mode()), here.own), "")
	r.addWritable(here)
	if err := r.addControllers(here); err != nil {
		return r, err
	}
	_, given := delegatedRoot(here.own)
	r.add("", "delegated", given, yesNo(given, here.own+" is ours", here.own+" is not marked as delegated"), "run as a unit with Delegate=yes")
	return r, r.addSwap()
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

func (r *Report) addWritable(here place) {
	err := unix.Access(here.own, unix.W_OK)
	writable := err == nil && !here.mount.readOnly
	r.add(Available, "writable", writable, yesNo(writable, here.own, fmt.Sprintf("%s: read-only mount or not ours (%v)", here.own, err)),
		"run as a unit with Delegate=yes, as root, or in a container with a writable cgroup namespace")
	if here.top {
		// The real root has no cgroup.kill itself; the kernel version told.
		return
	}
	_, err = os.Stat(here.own + "/cgroup.kill")
	r.add(Available, "cgroup.kill", err == nil, yesNo(err == nil, "present", fmt.Sprint(err)), "run Linux 5.14 or newer")
}

func (r *Report) addControllers(here place) error {
	have, err := controllers(here.own)
	if err != nil {
		return err
	}
	for _, c := range wanted {
		var mode Mode
		if slices.Contains(needed, c) {
			mode = Strict
		}
		ok := slices.Contains(have, c)
		r.add(mode, "controller "+c, ok, fmt.Sprintf("available in %s: %s", here.own, strings.Join(have, " ")),
			"set Delegate=memory pids cpu io in the unit, and boot with systemd.unified_cgroup_hierarchy=1 on a hybrid host")
	}
	return nil
}

func (r *Report) addSwap() error {
	b, err := os.ReadFile("/proc/swaps")
	if err != nil && !absent(err) {
		return err
	}
	areas, err := parseSwaps(bytes.NewReader(b))
	r.add("", "swap", true, yesNo(areas == 0, "none", fmt.Sprintf("%d areas; runs can't use them", areas)), "")
	return err
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
