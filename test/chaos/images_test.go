package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"penstock/internal/imagetest"
	"penstock/internal/procinfo"
)

// inImages is how many of a hundred runs are in an image.
func inImages(t testing.TB) int {
	t.Helper()
	s := os.Getenv("PENSTOCK_CHAOS_IMAGES")
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 100 {
		t.Fatalf("PENSTOCK_CHAOS_IMAGES: %q: want a number of percents", s)
	}
	return n
}

// boxed is what a backend is called whose runs are in an image, beside one that is the same without.
const boxed = "-boxed"

// boxes is the configuration of those. Their image has no program but busybox.
func boxes(t testing.TB, shared, mark string) string {
	t.Helper()
	var all strings.Builder
	fmt.Fprintf(&all, "[images.box]\nrootfs = %q\n", imagetest.Root(t))
	for _, of := range []struct{ name, kind, command, limits string }{
		{"sh", "exec", "/bin/sh", ""}, {"lines", "jsonl", "/bin/sh", ""}, {"ghost", "exec", "/no/such/program", ""},
		{"tight", "exec", "/bin/sh", `output_max = "256KiB"`}, {"still", "exec", "/bin/sh", `stall_timeout = "2s"`},
	} {
		name := of.name + boxed
		fmt.Fprintf(&all, "[backends.%s]\nkind = %q\ncommand = [%q]\nset_env = { CHAOS = %q }\nimage = \"box\"\nmounts = [ { from = %q, to = %q, mode = \"rw\" } ]\n[backends.%s.limits]\n%s\n",
			name, of.kind, of.command, mark, shared, shared, name, of.limits)
	}
	return all.String()
}

// unboxable are scripts about files that an image has not, or has not so many MiB of.
var unboxable = regexp.MustCompile("^(page-cache|oom-shm)$")

// box moves some plans into the image: of a sequence always the same.
func (w *world) box(p plan, seed uint64, n int) plan {
	r := rand.New(rand.NewPCG(seed, uint64(n)|1<<42))
	if r.IntN(100) < w.boxed && slices.Contains([]string{"sh", "lines", "ghost", "tight", "still"}, p.backend) && !unboxable.MatchString(p.name) {
		p.backend += boxed
		w.inBox.Add(1)
	}
	return p
}

func (p plan) isBoxed() bool { return strings.HasSuffix(p.backend, boxed) }

// cli is the first child of process 1, which is bubblewrap's: orphans come later.
func (w *world) cli(run string, bubblewrap process) (process, error) {
	first, found := uint64(0), process{}
	for _, pid := range w.pids(run) {
		p, err := look(pid)
		if err != nil {
			continue
		}
		one, err := look(p.parent)
		if err != nil || one.parent != bubblewrap.pid {
			continue
		}
		if s, err := procinfo.Host.Stat(pid); err == nil && (first == 0 || s.Began < first || s.Began == first && pid < found.pid) {
			first, found = s.Began, p
		}
	}
	if first == 0 {
		return process{}, fmt.Errorf("run %s has no CLI in its image yet", run)
	}
	return found, nil
}

// bubblewraps are all there are in the lab; elsewhere they may be others', and those of
// the daemon's groups are among world.marked.
func bubblewraps() (pids []string) {
	if os.Getenv("PENSTOCK_LAB") == "" {
		return nil
	}
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, name := range names {
		if text, err := os.ReadFile(name); err == nil && string(text) == "bwrap\n" {
			pids = append(pids, name)
		}
	}
	return pids
}
