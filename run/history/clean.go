package history

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"penstock/internal/openat"
)

// Clean gives back what the log holds of runs that are gone: the oldest segments of which
// nothing is needed, and where more of the log is garbage than is needed, also those of
// which little is: their lines are appended anew. It is for the background.
func (x *Index) Clean() error {
	for {
		oldest, copies := x.toClean()
		if oldest == nil {
			return nil
		}
		if copies {
			if err := x.copyLines(oldest); err != nil {
				return err
			}
		}
		if err := x.drop(oldest); err != nil {
			return err
		}
	}
}

// toClean gives the oldest segment where it is to go, and whether something of it is
// needed.
func (x *Index) toClean() (oldest *segment, copies bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.segments) < 2 {
		return nil, false
	}
	var size, needed int64
	for _, s := range x.segments {
		size += s.size
		needed += s.needed
	}
	oldest = x.segments[0]
	if oldest.lines > 0 && size <= 2*needed+segmentMax {
		return nil, false
	}
	return oldest, oldest.lines > 0
}

// copyLines appends what is needed of a segment anew. It is flushed to the disk: its
// source goes, and a power cut would take more than the last lines.
func (x *Index) copyLines(s *segment) error {
	first := x.newest()
	f, _, err := openat.Regular(pathOf(x.dir, s.number))
	if isHosts(err) {
		return fmt.Errorf("history: %w", err)
	}
	if err == nil {
		err = errors.Join(x.copyWhole(f, s), f.Close())
		if err != nil {
			return err
		}
	}
	// What is damaged by now would keep the log from being cleaned for as long as its run is
	// kept: of such a run the line is written anew without its data.
	for at, l := range x.linesIn(s.number) {
		if err := x.copyLine(l.ID, at, bytes.TrimSuffix(l.append(nil), []byte("\n"))); err != nil {
			return err
		}
	}
	for n := first; n <= x.newest(); n++ {
		if err := flush(pathOf(x.dir, n)); err != nil {
			return err
		}
	}
	return nil
}

// copyWhole copies the lines of a segment that are whole.
func (x *Index) copyWhole(f *os.File, s *segment) (failed error) {
	_, err := scan(f, func(offset int64, text []byte) {
		l, ok := parse(text)
		at := position{s.number, uint32(offset), uint32(len(text))}
		if failed == nil && ok && x.isAt(l.ID, at) {
			failed = x.copyLine(l.ID, at, bytes.Clone(text))
		}
	})
	return errors.Join(err, failed)
}

// linesIn are the lines that a segment should still have, as far as they are in memory.
func (x *Index) linesIn(number uint32) map[position]line {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := map[position]line{}
	for id, at := range x.begun {
		if at.segment == number {
			out[at] = line{kind: begun, Entry: Entry{ID: id}}
		}
	}
	for c, one := range x.entries.all() {
		if one.at.segment != number {
			continue
		}
		l := line{kind: kept, Entry: x.entries.export(c, one, x.opened)}
		if l.Filed {
			l.kind = filed
		}
		out[one.at] = l
	}
	return out
}

func flush(path string) error {
	f, err := openat.Kind(path, os.O_WRONLY, 0)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	defer f.Close()
	return f.Sync()
}

// copyLine appends a line of a run anew, unless the run has another one by then.
func (x *Index) copyLine(id string, from position, text []byte) error {
	x.writing.Lock()
	defer x.writing.Unlock()
	if !x.isAt(id, from) {
		return nil
	}
	return x.appendLine(append(text, '\n'), func(to position) {
		x.hold(from, -1)
		x.hold(to, +1)
		if _, ok := x.begun[id]; ok {
			x.begun[id] = to
		} else if n, ok := x.entries.find(id); ok {
			_, one := x.entries.at(n)
			one.at = to
		}
	})
}

// isAt tells whether a line is the one that holds of its run.
func (x *Index) isAt(id string, at position) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if known, ok := x.begun[id]; ok {
		return known == at
	}
	n, ok := x.entries.find(id)
	if !ok {
		return false
	}
	_, one := x.entries.at(n)
	return one.at == at
}

func (x *Index) newest() uint32 {
	x.writing.Lock()
	defer x.writing.Unlock()
	return x.log.last
}

// drop removes the oldest segment, where nothing of it is needed and nothing is being
// written to it.
func (x *Index) drop(s *segment) error {
	x.writing.Lock()
	defer x.writing.Unlock()
	if !x.unlist(s) {
		return fmt.Errorf("history: segment %d: it is needed still", s.number)
	}
	if err := os.Remove(pathOf(x.dir, s.number)); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

func (x *Index) unlist(s *segment) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s == x.log.now || len(x.segments) == 0 || x.segments[0] != s || s.lines > 0 {
		return false
	}
	x.segments = x.segments[1:]
	return true
}
