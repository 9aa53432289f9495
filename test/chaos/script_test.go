package chaos

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
)

// script is one way a run can go, and how often it is picked.
type script struct {
	name   string
	weight int
	needs  need
	write  func(r *rand.Rand, w *world) plan
}

// need is what a script takes for granted.
type need int

const (
	nothing    need = iota
	kernelHeld      // limits held by the kernel: a watch looks too seldom, or can't see it
	diskPages       // and a file system with pages to reclaim
)

// plan is one run: what is asked, what is done to it, and what must come of it.
type plan struct {
	name    string
	tag     string // in the request's metadata
	backend string
	prompt  string // a shell script, or words for the demo
	extra   map[string]any
	stream  bool
	durable bool // with X-Run-Id: its client may leave
	queued  bool // behind a run of the same client that may have one only
	act     act
	tidy    func()
	want    end
}

// act is what is done to the run from outside; nil is nothing.
type act struct {
	when moment
	do   func(*attempt) error
}

// moment is what an act waits for.
type moment int

const (
	never   moment = iota
	asleep         // the leader has become a sleep(1): all before that has happened
	parent         // the leader has a child that is one
	waiting        // in the queue, and listed there
	sent           // the request is on its way
	listed         // the run is known, in whatever state
	refused        // the kernel has refused it a process
)

// end is what must come of a run.
type end struct {
	cause    string
	unborn   bool           // refused before anything was started
	either   bool           // unborn or not is the kernel's choice
	status   int            // of a refusal that is not streamed
	text     *regexp.Regexp // of the answer, or of what came before the error
	says     []string       // in the message
	exit     int            // of the leader, where cause is cli_error or completed; -1 is not checked
	signal   string         // of the leader
	refused  bool           // forks, by the kernel
	full     bool           // memory near the limit, without a kill
	survived int            // processes at least, after the leader
	certain  bool           // also where no daemon saw it end: it has a last word, or needs one to end it
}

func exactly(text string) *regexp.Regexp {
	return regexp.MustCompile("^" + regexp.QuoteMeta(text) + "$")
}

func matching(pattern string) *regexp.Regexp { return regexp.MustCompile(pattern) }

// choose picks a script by weight among those that can run here.
func choose(r *rand.Rand, from []script) script {
	total := 0
	for _, s := range from {
		total += s.weight
	}
	n := r.IntN(total)
	for _, s := range from {
		if n -= s.weight; n < 0 {
			return s
		}
	}
	panic("unreachable: the weights were summed before")
}

// usable leaves out what this machine can't show, and what was not asked for.
func usable(all []script, w *world, only string) (out []script, left []string) {
	for _, s := range all {
		if only != "" && !regexp.MustCompile(only).MatchString(s.name) {
			continue
		}
		if s.needs >= kernelHeld && !w.kernel || s.needs == diskPages && w.disk == "" {
			left = append(left, s.name)
			continue
		}
		out = append(out, s)
	}
	return out, left
}

// family is a random prelude: children that a well-meant kill of the leader
// alone would leave behind. n is how many at least are there.
func family(r *rand.Rand) (script string, n int) {
	kinds := []struct {
		text string
		n    int
	}{
		{"", 0},
		{"sleep 300 &\n", 1},
		{"setsid sleep 300 &\n", 1},
		{"(setsid sleep 300 &)\n", 1}, // a double fork
		{"(trap '' TERM HUP INT; exec sleep 300) &\n", 1},
		{"sleep 300 | sleep 300 &\n", 2},
		{"for i in 1 2 3 4 5; do sleep 300 & done\n", 5},
		{"(trap '' TERM; setsid sh -c 'sleep 300 & sleep 300' &)\n", 2},
	}
	for range 1 + r.IntN(2) {
		k := kinds[r.IntN(len(kinds))]
		script += k.text
		n += k.n
	}
	return script, n
}

// hold is a run that lasts until it is ended: it says ready, and its
// leader becomes a sleep(1).
func hold(r *rand.Rand) string {
	children, _ := family(r)
	return children + "echo ready\nexec sleep 300\n"
}

func either(r *rand.Rand) bool { return r.IntN(2) == 0 }

// words are n random ones.
func words(r *rand.Rand, n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("w%05d", r.IntN(100000))
	}
	return strings.Join(list, " ")
}

func limits(pairs ...any) map[string]any {
	l := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		l[pairs[i].(string)] = pairs[i+1]
	}
	return map[string]any{"limits": l}
}
