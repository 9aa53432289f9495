package spawn

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// hideEvery is how long a door that opens anew, such as the socket of a service
// started later, may stay open to children.
const hideEvery = 2 * time.Second

// Hiding names what children must not use to have somebody else start a
// process for them: paths, absolute and clean, with the wildcards of
// filepath.Match in any component; none is followed through a symbolic link
// that a wildcard has found, nor when its last component is one.
type Hiding struct {
	// Paths become empty: a socket answers as one that nobody listens on, a
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

// hider keeps paths hidden in the launcher's mount namespace, or tells which a
// child can reach where there is none. All but state is for the launcher thread.
type hider struct {
	Hiding
	log    *slog.Logger
	mounts bool // the launcher has a mount namespace of its own

	mu        sync.Mutex
	hidden    []string
	reachable []string
}

// state is what the last scan found, sorted.
func (h *hider) state() (hidden, reachable []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string{}, h.hidden...), append([]string{}, h.reachable...)
}

// scan covers what is there now. It keeps going over what fails, and tells it
// as reachable if it is.
func (h *hider) scan() {
	hidden, open := map[string]bool{}, map[string]error{}
	if h.mounts {
		h.cover(hidden, open)
	} else {
		h.look(open)
	}
	h.mu.Lock()
	was := h.reachable
	h.hidden, h.reachable = slices.Sorted(maps.Keys(hidden)), slices.Sorted(maps.Keys(open))
	h.mu.Unlock()
	if h.mounts {
		h.warn(was, open)
	}
}

// toldMax is how many paths one line names.
const toldMax = 20

// warn tells, in one line, of what is reachable and was not before.
func (h *hider) warn(was []string, open map[string]error) {
	opened := slices.DeleteFunc(slices.Sorted(maps.Keys(open)), func(path string) bool { return slices.Contains(was, path) })
	if len(opened) > 0 {
		h.log.Warn("children can reach what isolation.hide names", "count", len(opened), "paths", opened[:min(len(opened), toldMax)], "err", open[opened[0]])
	}
}

// cover hides everything named, wherever the file system shows it.
func (h *hider) cover(hidden map[string]bool, open map[string]error) {
	h.ownDirectories()
	for _, set := range []struct {
		patterns []string
		cover    func(string, []mount) error
	}{{h.Paths, coverPath}, {h.ReadOnly, coverWrites}} {
		mounts, err := threadMounts()
		if err != nil {
			open["/proc/thread-self/mountinfo"] = err
			return
		}
		left := others(mounts)
		for _, pattern := range set.patterns {
			for _, path := range expand(pattern) {
				for _, shown := range append([]string{path}, aliases(path, left, mounts)...) {
					if err := set.cover(shown, mounts); err != nil {
						open[shown] = err
						continue
					}
					hidden[shown] = true
				}
			}
		}
	}
}

// look finds what a child could use; the daemon's own rights are a child's too.
func (h *hider) look(open map[string]error) {
	for _, pattern := range h.Paths {
		for _, path := range expand(pattern) {
			if door, found := reach(path); found {
				open[door] = nil
			}
		}
	}
}
