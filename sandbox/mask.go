package sandbox

import (
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// rescanEvery is how long a path that appears anew, such as the socket of a service
	// started later, may stay open to children.
	rescanEvery = 2 * time.Second
	// scanMax is how long the scan of one pattern may take. One that takes longer, as
	// on a file system that doesn't answer, goes on by itself: what it found before
	// holds, and that it is late is told.
	scanMax = time.Second
	// scanShare is the part of the time that scans may take: 1 in so many.
	scanShare = 10
	// maskBatch is how many paths the launcher thread masks in one go: starts wait
	// for it.
	maskBatch = 64
)

// MaskPaths names what children must not use to have another program start a
// process for them, as maskedPaths and readonlyPaths of the OCI runtime
// specification do: paths, absolute and clean, with the wildcards of
// filepath.Match in any component; none is followed through a symbolic link
// that a wildcard has found, nor when its last component is one.
type MaskPaths struct {
	// Paths become empty: a socket answers as one without a listener, a
	// file reads as empty, a directory as empty and read-only. One that is
	// sticky, or lies in a sticky one (/tmp/tmux-0), is children's own instead:
	// empty, but writable.
	Paths []string
	// ReadOnly can be read only.
	ReadOnly []string
	// Users are the user ids that children may have beside the daemon's.
	Users []int
	// AbstractSockets of the host stay open to children.
	AbstractSockets bool
}

// pathMasker keeps paths masked in the launcher's mount namespace, or tells which a
// child can reach where there is none. Any user can make names that fit, and file
// systems that don't answer: what is looked at is looked at by other threads, and
// only the mounts are made by the launcher's.
type pathMasker struct {
	MaskPaths
	log        *slog.Logger
	protection *protection     // masked again in each round; nil without a launcher
	mounts     bool            // the launcher has a mount namespace of its own
	jobs       chan func()     // for the launcher thread
	closed     <-chan struct{} // it takes none any more

	top      *os.File       // "/" as the launcher thread sees it; closed with the last scan
	root     int            // its descriptor
	tid      int            // of that thread
	patterns []*maskPattern // of the round only
	working  atomic.Bool
	stale    atomic.Bool // the mounts are not as they were read

	mu        sync.Mutex
	table     mountTable
	hidden    []string
	reachable []string
	late      []string // patterns
	tooMany   int
}

// maskPattern is what is known of one pattern.
type maskPattern struct {
	pattern  string
	readonly bool            // to be read, but not to be written to
	busy     chan scanResult // of a scan that has not come back; nil is none
	last     scanResult
	late     bool
}

// scanResult is what the scan of one pattern has found.
type scanResult struct {
	hidden  []string
	open    map[string]error
	tooMany int // names that were too many to be looked at
}

// reachability is what the last scans found, sorted.
func (m *pathMasker) reachability() (hidden, reachable []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string{}, m.hidden...), append([]string{}, m.reachable...)
}

// unscanned is what the scans could not tell: patterns whose scan is late, and how
// many names were too many.
func (m *pathMasker) unscanned() (late []string, beyond int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string{}, m.late...), m.tooMany
}

// CheckMaskPaths says what of the paths to be masked a daemon could not look at, if it
// were started now: patterns that lead to a file system that doesn't answer, and
// how many names are too many.
func CheckMaskPaths(m MaskPaths) (late []string, tooMany int) {
	look := pathMasker{MaskPaths: m, log: slog.New(slog.DiscardHandler)}
	look.scan()
	return look.unscanned()
}

// namedMax is how many paths one line names.
const namedMax = 20

// report sums up what all scans have found, and logs what is new.
func (m *pathMasker) report() {
	hidden, open, beyond := map[string]bool{}, map[string]error{}, 0
	var late []string
	for _, l := range m.patterns {
		for _, path := range l.last.hidden {
			hidden[path] = true
		}
		maps.Copy(open, l.last.open)
		beyond += l.last.tooMany
		if l.late {
			late = append(late, l.pattern)
		}
	}
	m.mu.Lock()
	was, wasLate, wasBeyond := m.reachable, m.late, m.tooMany
	m.hidden, m.reachable = slices.Sorted(maps.Keys(hidden)), slices.Sorted(maps.Keys(open))
	m.late, m.tooMany = late, beyond
	m.mu.Unlock()
	if fresh := without(late, wasLate); len(fresh) > 0 {
		m.log.Warn("isolation.hide: a file system doesn't answer: what these name stays hidden as it was", "patterns", fresh)
	}
	if back := without(wasLate, late); len(back) > 0 {
		m.log.Info("isolation.hide: these are looked at again", "patterns", back)
	}
	if beyond > 0 && wasBeyond == 0 {
		m.log.Warn("isolation.hide: more names fit than are looked at: children can reach the others", "others", beyond, "of_one_user", ownerMax, "of_one_pattern", namesMax)
	}
	if m.mounts {
		m.warnReachable(was, open)
	}
}

func without(all, others []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(others, s) })
}

// warnReachable tells, in one line, of what is reachable and was not before.
func (m *pathMasker) warnReachable(was []string, open map[string]error) {
	opened := without(slices.Sorted(maps.Keys(open)), was)
	if len(opened) > 0 {
		m.log.Warn("children can reach what isolation.hide names", "count", len(opened), "paths", opened[:min(len(opened), namedMax)], "err", open[opened[0]])
	}
}
