package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// limitScripts meet the limits of their group.
var limitScripts = []script{
	{"oom-demo", 4, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "demo", prompt: "some text /alloc 300MiB /sleep 300", extra: limits("memory_max", "40MiB"), want: outOfMemory("some text ")}
	}},
	{"oom-leader", 5, kernelHeld, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "sh", prompt: "echo part\nexec " + eat(200), extra: limits("memory_max", size(r)), want: outOfMemory("part\n")}
	}},
	{"oom-child", 5, kernelHeld, func(r *rand.Rand, _ *world) plan {
		// Without memory.oom.group the shell would go on and answer.
		return plan{backend: "sh", prompt: eat(200) + "\necho survived; exit 0", extra: limits("memory_max", size(r)), want: outOfMemory("")}
	}},
	{"oom-pipeline", 3, kernelHeld, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "sh", prompt: eat(200) + " | cat\necho survived", extra: limits("memory_max", size(r)), want: outOfMemory("")}
	}},
	{"oom-grandchild", 5, kernelHeld, func(r *rand.Rand, _ *world) plan {
		children, _ := family(r)
		return plan{backend: "sh", prompt: children + "(setsid sh -c '" + eat(200) + "' &)\nexec sleep 300", extra: limits("memory_max", size(r)), want: outOfMemory("")}
	}},
	{"oom-many-small", 3, kernelHeld, func(r *rand.Rand, _ *world) plan {
		// No process is over the limit, all together are.
		return plan{backend: "sh", prompt: "for i in 1 2 3 4 5 6; do " + keep(9) + " & done\nexec sleep 300", extra: limits("memory_max", "32MiB"), want: outOfMemory("")}
	}},
	{"oom-after-answer", 3, kernelHeld, func(r *rand.Rand, _ *world) plan {
		// It never says that it is done.
		return plan{backend: "lines", prompt: `echo '{"text":"words"}'` + "\n" + eat(200) + "\n" + `echo '{"done":true}'`, extra: limits("memory_max", size(r)), want: outOfMemory("words")}
	}},
	{"oom-shm", 3, kernelHeld, func(r *rand.Rand, _ *world) plan {
		// A file in tmpfs is memory that nobody can reclaim without swap; it goes with the run's scratch directory.
		return plan{backend: "sh", prompt: `f=$(mktemp /dev/shm/chaosXXXXXX); exec 9<>$f; rm $f; dd if=/dev/zero bs=1M count=200 >&9 2>/dev/null; echo survived`, extra: limits("memory_max", size(r)), want: outOfMemory("")}
	}},
	{"page-cache", 3, diskPages, func(r *rand.Rand, w *world) plan {
		file := filepath.Join(w.disk, fmt.Sprintf("pages%d", r.Uint64()))
		makeHole(w, file, 48<<20)
		return plan{backend: "sh", prompt: "cat " + file + " >/dev/null; echo read", extra: limits("memory_max", "32MiB"), tidy: func() { os.Remove(file) },
			want: end{cause: "completed", text: exactly("read\n"), full: true}}
	}},
	{"below-the-cap", 3, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "sh", prompt: eat(20) + "\necho fits", extra: limits("memory_max", "48MiB"), want: end{cause: "completed", text: exactly("fits\n")}}
	}},
	{"fork-bomb-demo", 4, kernelHeld, func(r *rand.Rand, _ *world) plan {
		n := 24 + r.IntN(24)
		return plan{backend: "demo", prompt: "/fork 200 done", extra: limits("pids_max", n),
			want: end{cause: "pids_limit", exit: -1, refused: true, says: []string{fmt.Sprint(n)}}}
	}},
	{"fork-bomb-fails", 6, kernelHeld, func(r *rand.Rand, _ *world) plan {
		n := 8 + r.IntN(24)
		return plan{backend: "sh", prompt: "echo part\nwhile :; do sleep 300 & done", extra: limits("pids_max", n),
			want: end{cause: "pids_limit", exit: -1, refused: true, text: exactly("part\n"), says: []string{fmt.Sprint(n)}}}
	}},
	{"fork-bomb-answers", 6, kernelHeld, func(r *rand.Rand, _ *world) plan {
		n := 8 + r.IntN(24)
		// The subshell runs into the limit; the leader needs no further process.
		return plan{backend: "sh", prompt: "( while :; do sleep 300 & done ) 2>/dev/null\necho answered", extra: limits("pids_max", n),
			want: end{cause: "completed", refused: true, text: exactly("answered\n"), survived: n - 2}}
	}},
	{"fork-bomb-said-done", 3, kernelHeld, func(r *rand.Rand, _ *world) plan {
		n := 8 + r.IntN(24)
		return plan{backend: "lines", prompt: "( while :; do sleep 300 & done ) 2>/dev/null\n" + `echo '{"text":"answered"}'; echo '{"done":true}'`, extra: limits("pids_max", n),
			want: end{cause: "completed", exit: -1, refused: true, text: exactly("answered")}}
	}},
	// The leader forks once: refused a second fork, it would end by itself.
	{"fork-bomb-cancelled", 3, kernelHeld, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "sh", prompt: "b() { b | b & }; (b 2>/dev/null) &\nexec sleep 300", extra: limits("pids_max", 16),
			act: act{refused, cancel}, want: end{cause: "cancelled", signal: "SIGKILL", refused: true}}
	}},
}

// eat is a command whose one process touches so many MiB at once.
func eat(mib int) string {
	return fmt.Sprintf("dd if=/dev/zero of=/dev/null bs=%dM count=1 2>/dev/null", mib)
}

// keep is a command that touches so many MiB and holds them, idle: nobody reads
// what it wants to write.
func keep(mib int) string {
	return fmt.Sprintf("dd if=/dev/zero bs=%dM count=1 2>/dev/null | sleep 300", mib)
}

func size(r *rand.Rand) string { return fmt.Sprintf("%dMiB", 32+r.IntN(8)) }

func outOfMemory(text string) end {
	return end{cause: "memory_limit", signal: "SIGKILL", text: exactly(text), says: []string{"MiB", "peak"}}
}

func makeHole(w *world, file string, bytes int64) {
	f, err := os.Create(file)
	if err == nil {
		err = f.Truncate(bytes)
		f.Close()
	}
	if err != nil {
		w.tb.Error(err)
	}
}
