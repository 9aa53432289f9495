package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// plainScripts end by themselves: with an answer, or with a failure of the CLI's own.
var plainScripts = []script{
	{"words-demo", 4, nothing, func(r *rand.Rand, _ *world) plan {
		text := words(r, 1+r.IntN(8))
		return plan{backend: "demo", prompt: text, want: end{cause: "completed", text: exactly(text + " ")}}
	}},
	{"words-exec", 12, nothing, func(r *rand.Rand, _ *world) plan {
		text := words(r, 1+r.IntN(20))
		return plan{backend: "sh", prompt: "echo " + text, want: end{cause: "completed", text: exactly(text + "\n")}}
	}},
	{"words-jsonl", 8, nothing, func(r *rand.Rand, _ *world) plan {
		text := words(r, 1+r.IntN(20))
		return plan{backend: "lines", prompt: fmt.Sprintf(`echo '{"text":"%s"}'; echo '{"done":true}'`, text),
			want: end{cause: "completed", exit: -1, text: exactly(text), certain: true}}
	}},
	{"family", 10, nothing, func(r *rand.Rand, _ *world) plan {
		children, n := family(r)
		text := words(r, 3)
		// The children must be there before the leader leaves.
		return plan{backend: "sh", prompt: children + awaitChildren(n) + "echo " + text,
			want: end{cause: "completed", text: exactly(text + "\n"), survived: n}}
	}},
	{"family-demo", 3, nothing, func(r *rand.Rand, _ *world) plan {
		orders := []string{"/daemonize", "/ignoreterm", "/holdstdout", "/outlive"}
		order := orders[r.IntN(len(orders))]
		return plan{backend: "demo", prompt: order + " after", want: end{cause: "completed", text: exactly("after ")}}
	}},
	{"done-but-stays", 4, nothing, func(r *rand.Rand, _ *world) plan {
		children, _ := family(r)
		return plan{backend: "lines", prompt: children + `echo '{"text":"all"}'; echo '{"done":true}'; exec sleep 300`,
			want: end{cause: "completed", exit: -1, text: exactly("all"), certain: true}}
	}},
	{"exit-status", 8, nothing, func(r *rand.Rand, _ *world) plan {
		n, sorrow := 1+r.IntN(120), words(r, 1)
		children, _ := family(r)
		return plan{backend: "sh", prompt: fmt.Sprintf("%secho part; echo %s >&2; exit %d", children, sorrow, n),
			want: end{cause: "cli_error", exit: n, text: exactly("part\n"), says: []string{fmt.Sprint(n), sorrow}}}
	}},
	{"no-last-word", 3, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "lines", prompt: `echo '{"text":"half"}'`, want: end{cause: "cli_error", text: exactly("half"), says: []string{"without saying"}}}
	}},
	{"own-error", 3, nothing, func(r *rand.Rand, _ *world) plan {
		sorrow := words(r, 2)
		return plan{backend: "lines", prompt: fmt.Sprintf(`echo '{"error":"%s"}'; exec sleep 300`, sorrow),
			want: end{cause: "cli_error", exit: -1, says: []string{sorrow}, certain: true}}
	}},
	{"own-signal", 3, nothing, func(r *rand.Rand, _ *world) plan {
		name := []string{"KILL", "TERM", "SEGV", "ABRT"}[r.IntN(4)]
		return plan{backend: "sh", prompt: "echo part; kill -" + name + " $$; exec sleep 300",
			want: end{cause: "killed", signal: "SIG" + name, text: exactly("part\n"), says: []string{"SIG" + name}}}
	}},
	{"missing-program", 3, nothing, func(*rand.Rand, *world) plan {
		return plan{backend: "ghost", prompt: "hello", want: end{cause: "cli_missing", unborn: true, status: 503, says: []string{"/no/such/program"}}}
	}},
	{"missing-interpreter", 3, nothing, func(*rand.Rand, *world) plan {
		return plan{backend: "bare", prompt: "hello", want: end{cause: "cli_missing", unborn: true, status: 503, says: []string{"interpreter"}}}
	}},
	{"output-cap", 5, nothing, func(r *rand.Rand, _ *world) plan {
		word := []string{"", strings.Repeat("y", 3000)}[r.IntN(2)]
		where := []string{"", " >&2"}[r.IntN(2)]
		return plan{backend: "tight", prompt: "yes " + word + where, want: end{cause: "output_limit", exit: -1, certain: true}}
	}},
	{"output-cap-leader-gone", 3, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "tight", prompt: "head -c 300000 /dev/zero | tr '\\0' x", want: end{cause: "output_limit", exit: -1}}
	}},
	{"output-below-cap", 3, nothing, func(r *rand.Rand, _ *world) plan {
		n := 100_000 + r.IntN(150_000)
		return plan{backend: "tight", prompt: fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x", n),
			want: end{cause: "completed", text: exactly(strings.Repeat("x", n))}}
	}},
}

// awaitChildren waits, by the kernel's own list, until n others are in the group. In an
// image all that there is is in it, process 1 among them.
func awaitChildren(n int) string {
	return fmt.Sprintf(`if [ ! -e /usr ]; then set -- /proc/[0-9]*; while [ $# -lt %[2]d ]; do set -- /proc/[0-9]*; done; else
g=$(while IFS= read -r l; do case $l in 0::*) echo "${l#0::}";; esac; done </proc/self/cgroup)
for base in /sys/fs/cgroup /sys/fs/cgroup/unified; do [ -e "$base$g/cgroup.procs" ] && break; done
count() { c=0; while read -r pid; do c=$((c+1)); done <"$base$g/cgroup.procs"; }
count; while [ $c -lt %[1]d ]; do count; done; fi
`, n+1, n+2)
}
