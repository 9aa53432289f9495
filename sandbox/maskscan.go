package sandbox

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"penstock/internal/procinfo"
)

// openRoot is for the thread whose view children have.
func (m *pathMasker) openRoot() error {
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/", Err: err}
	}
	m.top, m.root, m.tid = os.NewFile(uintptr(root), "/"), root, unix.Gettid()
	m.jobs = make(chan func())
	m.stale.Store(true)
	for _, pattern := range m.Paths {
		m.patterns = append(m.patterns, &maskPattern{pattern: pattern})
	}
	for _, pattern := range m.ReadOnly {
		m.patterns = append(m.patterns, &maskPattern{pattern: pattern, readonly: true})
	}
	return nil
}

// scan is one round, whose mounts the calling thread makes.
func (m *pathMasker) scan() {
	if m.jobs == nil {
		if err := m.openRoot(); err != nil {
			m.log.Error("isolation.hide: nothing is hidden", "err", err)
			return
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.round()
	}()
	for {
		select {
		case job := <-m.jobs:
			job()
		case <-done:
			return
		}
	}
}

// rescan scans again and again until the launcher has gone.
func (m *pathMasker) rescan() {
	pause := rescanEvery
	for {
		select {
		case <-m.closed:
			return
		case <-time.After(pause):
		}
		begun := time.Now()
		idle := m.round()
		pause = max(rescanEvery, scanShare*(time.Since(begun)-idle))
	}
}

// round scans every pattern, one after the other, and tells for how long it
// has only waited.
func (m *pathMasker) round() (idle time.Duration) {
	m.runBounded(scanMax, func() {
		m.ownDirectories()
		if m.protection != nil {
			m.protection.maskAgain(m)
		}
	})
	for _, l := range m.patterns {
		if m.mounts || !l.readonly {
			idle += m.await(l)
		}
	}
	m.report()
	return idle
}

// runBounded calls f, but not while an earlier call is under way, and waits for it only so long.
func (m *pathMasker) runBounded(limit time.Duration, f func()) {
	if !m.working.CompareAndSwap(false, true) {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer m.working.Store(false)
		f()
	}()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

// await scans a pattern, or asks after the scan that is under way, and tells
// for how long it has waited for nothing.
func (m *pathMasker) await(l *maskPattern) (idle time.Duration) {
	wait := scanMax
	if l.busy == nil {
		l.busy = make(chan scanResult, 1)
		go func(found chan<- scanResult) { found <- m.scanPattern(l) }(l.busy)
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
func (m *pathMasker) scanPattern(l *maskPattern) (s scanResult) {
	s.open = map[string]error{}
	paths, beyond := m.expand(l.pattern)
	s.tooMany = beyond
	if !m.mounts {
		for _, path := range paths {
			if at, found := findReachable(path); found {
				s.open[at] = nil
			}
		}
		return s
	}
	var batch []*target
	flush := func() {
		m.onThread(func() {
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
		m.stale.Store(true)
	}
	for _, path := range paths {
		table := m.mountTable()
		found, failed := m.openTargets(path, table)
		maps.Copy(s.open, failed)
		for _, t := range found {
			s.hidden = append(s.hidden, t.path)
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

// openTargets opens a path wherever children see it. What is gone by now is left out; what
// can't be opened is told.
func (m *pathMasker) openTargets(path string, table mountTable) (found []*target, failed map[string]error) {
	failed = map[string]error{}
	for _, shown := range append([]string{path}, m.aliases(path, table)...) {
		t, err := openTarget(m.root, shown)
		switch {
		case err == nil:
			found = append(found, t)
		case !errors.Is(err, os.ErrNotExist):
			failed[shown] = err
		}
	}
	return found, failed
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
func (m *pathMasker) onThread(job func()) {
	done := make(chan struct{})
	select {
	case m.jobs <- func() { defer close(done); job() }:
		<-done
	case <-m.closed:
	}
}

// mountTable are the mounts children see, read anew after one was made and once
// a round.
func (m *pathMasker) mountTable() mountTable {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.stale.Swap(false) {
		return m.table
	}
	if mounts, err := procinfo.Host.ThreadMounts(m.tid); err == nil {
		m.table = newMountTable(mounts)
	}
	return m.table
}

// ownDirectories makes the directory in which tmux of each user that children
// may be would put its sockets. A directory that appears while the daemon runs
// is another program's and gets masked; these must not be, or a child would lose
// what it has just made.
func (m *pathMasker) ownDirectories() {
	m.stale.Store(true)
	if !m.mounts {
		return
	}
	for _, uid := range append([]int{os.Geteuid()}, m.Users...) {
		path := "/tmp/tmux-" + strconv.Itoa(uid)
		named := func(pattern string) bool { ok, err := filepath.Match(pattern, path); return ok && err == nil }
		if !slices.ContainsFunc(m.Paths, named) {
			continue
		}
		err := os.Mkdir(path, 0o700)
		if err == nil {
			err = os.Lchown(path, uid, -1)
		}
		if err != nil && !errors.Is(err, os.ErrExist) {
			m.log.Warn("directory for sockets not made", "path", path, "err", err)
		}
	}
}
