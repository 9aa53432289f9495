package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"penstock/internal/procinfo"
)

// openRoot is for the thread whose view children have.
func (h *pathMasker) openRoot() error {
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/", Err: err}
	}
	h.top, h.root, h.tid = os.NewFile(uintptr(root), "/"), root, unix.Gettid()
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
			if at, found := findReachable(path); found {
				s.open[at] = nil
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

// mountTable are the mounts children see, read anew after one was made and once
// a round.
func (h *pathMasker) mountTable() mountTable {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.stale.Swap(false) {
		return h.table
	}
	if mounts, err := procinfo.Host.ThreadMounts(h.tid); err == nil {
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
