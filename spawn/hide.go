package spawn

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
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
// process for them, as maskedPaths and readonlyPaths of the OCI runtime specification do: paths, absolute and clean, with the wildcards of
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
// child can reach where there is none. Anybody can make names that fit, and file
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
	info     string         // mountinfo of that thread
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
func (h *pathMasker) reachability() (hidden, reachable []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string{}, h.hidden...), append([]string{}, h.reachable...)
}

// unscanned is what the scans could not tell: patterns whose scan is late, and how
// many names were too many.
func (h *pathMasker) unscanned() (late []string, beyond int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string{}, h.late...), h.tooMany
}

// CheckMaskPaths says what of the paths to be masked a daemon could not look at, if it
// were started now: patterns that lead to a file system that doesn't answer, and
// how many names are too many.
func CheckMaskPaths(h MaskPaths) (late []string, tooMany int) {
	look := pathMasker{MaskPaths: h, log: slog.New(slog.DiscardHandler)}
	look.scan()
	return look.unscanned()
}

// openRoot is for the thread whose view children have.
func (h *pathMasker) openRoot() error {
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/", Err: err}
	}
	h.top, h.root, h.info = os.NewFile(uintptr(root), "/"), root, fmt.Sprintf("/proc/self/task/%d/mountinfo", unix.Gettid())
	h.jobs = make(chan func())
	h.stale.Store(true)
	for _, pattern := range h.Paths {
		h.patterns = append(h.patterns, &maskPattern{pattern: pattern})
	}
	for _, pattern := range h.ReadOnly {
		h.patterns = append(h.patterns, &maskPattern{pattern: pattern, readonly: true})
	}
	return nil
}

// scan is one round, whose mounts the calling thread makes.
func (h *pathMasker) scan() {
	if h.jobs == nil {
		if err := h.openRoot(); err != nil {
			h.log.Error("isolation.hide: nothing is hidden", "err", err)
			return
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.round()
	}()
	for {
		select {
		case job := <-h.jobs:
			job()
		case <-done:
			return
		}
	}
}

// rescan scans again and again until the launcher has gone.
func (h *pathMasker) rescan() {
	pause := rescanEvery
	for {
		select {
		case <-h.closed:
			return
		case <-time.After(pause):
		}
		begun := time.Now()
		idle := h.round()
		pause = max(rescanEvery, scanShare*(time.Since(begun)-idle))
	}
}

// round scans every pattern, one after the other, and tells for how long it
// has only waited.
func (h *pathMasker) round() (idle time.Duration) {
	h.runBounded(scanMax, func() {
		h.ownDirectories()
		if h.protection != nil {
			h.protection.maskAgain(h)
		}
	})
	for _, l := range h.patterns {
		if h.mounts || !l.readonly {
			idle += h.await(l)
		}
	}
	h.report()
	return idle
}

// runBounded calls f, but not while an earlier call is under way, and waits for it only so long.
func (h *pathMasker) runBounded(limit time.Duration, f func()) {
	if !h.working.CompareAndSwap(false, true) {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer h.working.Store(false)
		f()
	}()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

// await scans a pattern, or asks after the scan that is under way, and tells
// for how long it has waited for nothing.
func (h *pathMasker) await(l *maskPattern) (idle time.Duration) {
	wait := scanMax
	if l.busy == nil {
		l.busy = make(chan scanResult, 1)
		go func(found chan<- scanResult) { found <- h.scanPattern(l) }(l.busy)
	} else {
		wait = 0
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case l.last = <-l.busy:
		l.busy, l.late = nil, false
		return 0
	case <-timer.C:
		l.late = true
		return wait
	}
}

// scanPattern masks what a pattern names now, or tells what of it can be reached.
func (h *pathMasker) scanPattern(l *maskPattern) (s scanResult) {
	s.open = map[string]error{}
	paths, beyond := h.expand(l.pattern)
	s.tooMany = beyond
	if !h.mounts {
		for _, path := range paths {
			if door, found := findReachable(path); found {
				s.open[door] = nil
			}
		}
		return s
	}
	var batch []*target
	flush := func() {
		h.onThread(func() {
			for _, t := range batch {
				if err := l.apply(t); err != nil {
					s.open[t.path] = err
				}
			}
		})
		for _, t := range batch {
			t.close()
		}
		batch = nil
		h.stale.Store(true)
	}
	for _, path := range paths {
		table := h.mountTable()
		for _, shown := range append([]string{path}, h.aliases(path, table)...) {
			t, err := openTarget(h.root, shown)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				s.open[shown] = err
				continue
			}
			s.hidden = append(s.hidden, shown)
			if l.isDone(t, table) {
				t.close()
				continue
			}
			if batch = append(batch, t); len(batch) == maskBatch {
				flush()
			}
		}
	}
	if len(batch) > 0 {
		flush()
	}
	s.hidden = slices.DeleteFunc(s.hidden, func(path string) bool { _, open := s.open[path]; return open })
	return s
}

// isDone tells whether a target is as the pattern wants it.
func (l *maskPattern) isDone(t *target, mounts mountTable) bool {
	if l.readonly {
		return t.isMaskedReadonly(mounts)
	}
	return t.isMasked(mounts)
}

// apply is for the launcher thread.
func (l *maskPattern) apply(t *target) error {
	if l.readonly {
		return t.maskReadonly()
	}
	return t.mask()
}

// onThread has the launcher thread do a job and waits for it.
func (h *pathMasker) onThread(job func()) {
	done := make(chan struct{})
	select {
	case h.jobs <- func() { defer close(done); job() }:
		<-done
	case <-h.closed:
	}
}

// namedMax is how many paths one line names.
const namedMax = 20

// report sums up what all scans have found, and logs what is new.
func (h *pathMasker) report() {
	hidden, open, beyond := map[string]bool{}, map[string]error{}, 0
	var late []string
	for _, l := range h.patterns {
		for _, path := range l.last.hidden {
			hidden[path] = true
		}
		maps.Copy(open, l.last.open)
		beyond += l.last.tooMany
		if l.late {
			late = append(late, l.pattern)
		}
	}
	h.mu.Lock()
	was, wasLate, wasBeyond := h.reachable, h.late, h.tooMany
	h.hidden, h.reachable = slices.Sorted(maps.Keys(hidden)), slices.Sorted(maps.Keys(open))
	h.late, h.tooMany = late, beyond
	h.mu.Unlock()
	if fresh := without(late, wasLate); len(fresh) > 0 {
		h.log.Warn("isolation.hide: a file system doesn't answer: what these name stays hidden as it was", "patterns", fresh)
	}
	if back := without(wasLate, late); len(back) > 0 {
		h.log.Info("isolation.hide: these are looked at again", "patterns", back)
	}
	if beyond > 0 && wasBeyond == 0 {
		h.log.Warn("isolation.hide: more names fit than are looked at: children can reach the others", "others", beyond, "of_one_user", ownerMax, "of_one_pattern", namesMax)
	}
	if h.mounts {
		h.warnReachable(was, open)
	}
}

func without(all, others []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(others, s) })
}

// warnReachable tells, in one line, of what is reachable and was not before.
func (h *pathMasker) warnReachable(was []string, open map[string]error) {
	opened := without(slices.Sorted(maps.Keys(open)), was)
	if len(opened) > 0 {
		h.log.Warn("children can reach what isolation.hide names", "count", len(opened), "paths", opened[:min(len(opened), namedMax)], "err", open[opened[0]])
	}
}

// mountTable are the mounts children see, read anew after one was made and once
// a round.
func (h *pathMasker) mountTable() mountTable {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.stale.Swap(false) {
		return h.table
	}
	f, err := os.Open(h.info)
	if err != nil {
		return h.table
	}
	defer f.Close()
	if mounts, err := parseMounts(f); err == nil {
		h.table = newMountTable(mounts)
	}
	return h.table
}

// ownDirectories makes the directory in which tmux of each user that children
// may be would put its sockets. A directory that appears while the daemon runs
// is another program's and gets masked; these must not be, or a child would lose
// what it has just made.
func (h *pathMasker) ownDirectories() {
	h.stale.Store(true)
	if !h.mounts {
		return
	}
	for _, uid := range append([]int{os.Geteuid()}, h.Users...) {
		path := "/tmp/tmux-" + strconv.Itoa(uid)
		named := func(pattern string) bool { ok, err := filepath.Match(pattern, path); return ok && err == nil }
		if !slices.ContainsFunc(h.Paths, named) {
			continue
		}
		err := os.Mkdir(path, 0o700)
		if err == nil {
			err = os.Lchown(path, uid, -1)
		}
		if err != nil && !errors.Is(err, os.ErrExist) {
			h.log.Warn("directory for sockets not made", "path", path, "err", err)
		}
	}
}
