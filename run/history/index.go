package history

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"
)

// Entry is what the index knows of a run that has ended without reading its line.
type Entry struct {
	ID, Client     string
	Created, Ended time.Time
	Bytes          int64 // of its output
	Filed          bool  // its record is a file of its own, not the index's
	// Asked is that what its client asked is a file beside the index. The log doesn't tell:
	// see MarkAsked.
	Asked bool
}

// Index is the index of one directory, which is this process's alone. Safe for
// concurrent use.
type Index struct {
	dir    string
	opened time.Time

	writing sync.Mutex // of the log; held over a write, so never with mu held
	log     appender

	mu       sync.Mutex
	entries  entries
	begun    map[string]position // runs that have not ended
	segments []*segment          // the oldest first
}

// Begin notes that a run is about to be started: a daemon that dies finds it in Begun.
func (x *Index) Begin(id string, data []byte) error {
	return x.write(line{kind: begun, Entry: Entry{ID: id}, data: data}, func(at position) {
		x.setBegun(id, at)
	})
}

// Finish notes that a run has ended; what was noted of it before holds no more. Of one
// that is Filed the data is what is needed of it without reading its files.
func (x *Index) Finish(e Entry, data []byte) error {
	kind := byte(kept)
	if e.Filed {
		kind = filed
	}
	return x.write(line{kind: kind, Entry: e, data: data}, func(at position) { x.setEnded(e, at) })
}

// Remove forgets runs. They are forgotten also where that can't be written down: the
// next daemon takes them for kept then.
func (x *Index) Remove(ids ...string) error {
	var errs []error
	for some := range slices.Chunk(ids, removeMax) {
		errs = append(errs, x.write(line{kind: removed, gone: some}, func(position) {}))
		x.mu.Lock()
		for _, id := range some {
			x.forget(id)
		}
		x.mu.Unlock()
	}
	return errors.Join(errs...)
}

// removeMax is how many ids a line has, at most, that says that runs are removed.
const removeMax = 1024

// Close closes the log's file. Nothing is written by it, so that a daemon that is killed
// leaves the same.
func (x *Index) Close() error {
	x.writing.Lock()
	defer x.writing.Unlock()
	return x.log.close()
}

// write appends a line, and tells where it is with mu held.
func (x *Index) write(l line, then func(position)) error {
	for _, id := range slices.Concat(l.gone, []string{l.ID}) {
		if len(id) > idMax {
			return fmt.Errorf("history: run %q: more than %d bytes", id, idMax)
		}
	}
	x.writing.Lock()
	defer x.writing.Unlock()
	x.log.line = l.append(x.log.line[:0])
	return x.appendLine(x.log.line, then)
}

// idMax is the longest id of a run.
const idMax = 128

// appendLine is write of a line as it is in the log. writing is held.
func (x *Index) appendLine(text []byte, then func(position)) error {
	if len(text) > lineMax {
		return fmt.Errorf("history: a line of %d bytes: more than the %d that would be read", len(text), lineMax)
	}
	s, at, err := x.log.append(x.dir, text)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.segments) == 0 || x.segments[len(x.segments)-1] != s {
		x.segments = append(x.segments, s)
	}
	s.size = int64(at.offset) + int64(at.length) + 1
	then(at)
	return nil
}

// The following want mu held.

func (x *Index) setBegun(id string, at position) {
	x.forget(id)
	x.begun[id] = at
	x.hold(at, +1)
}

func (x *Index) setEnded(e Entry, at position) {
	x.forget(e.ID)
	// A clock that was ahead made no run that stays for ever, or that is newer than those to come.
	now := time.Now()
	for _, at := range []*time.Time{&e.Created, &e.Ended} {
		if at.After(now) {
			*at = now
		}
	}
	x.entries.add(e.ID, e.Client, entry{
		created: e.Created.UnixMicro(), ended: int64(e.Ended.Sub(x.opened)), bytes: e.Bytes, at: at, filed: e.Filed, asked: e.Asked,
	})
	x.hold(at, +1)
}

// forget drops what is known of a run, be it in memory only.
func (x *Index) forget(id string) {
	if at, ok := x.begun[id]; ok {
		delete(x.begun, id)
		x.hold(at, -1)
	}
	if n, ok := x.entries.find(id); ok {
		_, known := x.entries.at(n)
		x.hold(known.at, -1)
		x.entries.set(n, gone)
	}
}

// hold counts a line that is needed, or isn't any more.
func (x *Index) hold(at position, sign int) {
	if s := x.segmentOf(at.segment); s != nil {
		s.lines += sign
		s.needed += int64(sign) * int64(at.length)
	}
}

func (x *Index) segmentOf(number uint32) *segment {
	for i := len(x.segments) - 1; i >= 0; i-- {
		if x.segments[i].number == number {
			return x.segments[i]
		}
	}
	return nil
}

// read reads a run's line again. It may have been moved by Clean since it was found.
func (x *Index) read(id string) (l line, err error) {
	for range moveMax {
		x.mu.Lock()
		at, ok := x.begun[id]
		if n, found := x.entries.find(id); !ok && found {
			_, known := x.entries.at(n)
			at, ok = known.at, true
		}
		x.mu.Unlock()
		if !ok {
			return l, fs.ErrNotExist
		}
		if l, err = readLine(x.dir, at); err == nil && l.ID != id {
			err = fmt.Errorf("history: segment %d: the line of another run", at.segment)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return l, err
		}
	}
	return l, fmt.Errorf("history: a segment is missing: %v", err)
}

// moveMax is how often a line can't be found where it was a moment before.
const moveMax = 3
