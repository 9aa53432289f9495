package history

import (
	"cmp"
	"container/heap"
	"slices"
)

// Has tells of a run that has ended and is not being removed.
func (x *Index) Has(id string) bool {
	_, ok := x.Find(id)
	return ok
}

// Holds tells of a run of which the log says anything that holds: one that has begun, is
// kept, or is being removed.
func (x *Index) Holds(id string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, ended := x.entries.find(id)
	return ended || has(x.begun, id)
}

// MarkAsked is Holds, and notes of a run that has ended that it has such a file.
func (x *Index) MarkAsked(id string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	n, ended := x.entries.find(id)
	if ended {
		_, one := x.entries.at(n)
		one.asked = true
	}
	return ended || has(x.begun, id)
}

// HasFile tells of a run that has ended and whose record is a file.
func (x *Index) HasFile(id string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	n, ok := x.entries.find(id)
	if !ok {
		return false
	}
	_, one := x.entries.at(n)
	return one.filed && one.state == shown
}

// Find is Get without the data, from memory.
func (x *Index) Find(id string) (Entry, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n, ok := x.entries.find(id)
	if !ok {
		return Entry{}, false
	}
	c, one := x.entries.at(n)
	return x.entries.export(c, one, x.opened), one.state == shown
}

// Get gives what Finish or Begin was given of a run; fs.ErrNotExist is that there is none.
func (x *Index) Get(id string) (Entry, []byte, error) {
	l, err := x.read(id)
	return l.Entry, l.data, err
}

// Runs and Bytes are how many runs are kept, and how much output of them.
func (x *Index) Runs() (n int, bytes int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.entries.runs, x.entries.bytes
}

// Begun are the runs that have begun and not ended.
func (x *Index) Begun() (ids []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id := range x.begun {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Oldest gives the runs in the order of their ends, until told to stop. It is to call
// nothing of this package.
func (x *Index) Oldest(more func(Entry) bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for c, one := range x.entries.all() {
		if one.state == shown && !more(x.entries.export(c, one, x.opened)) {
			return
		}
	}
}

// Hide takes runs out of sight while they are removed; Show takes that back.
func (x *Index) Hide(ids ...string) { x.setAll(ids, hidden) }

// Show is for those that can't be removed.
func (x *Index) Show(ids ...string) { x.setAll(ids, shown) }

func (x *Index) setAll(ids []string, to state) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, id := range ids {
		if n, ok := x.entries.find(id); ok {
			x.entries.set(n, to)
		}
	}
}

// Sort puts the runs in the order of their ends, where they were not added in that.
func (x *Index) Sort() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.entries.sort()
}

// Newest gives the runs of a client, "" is any, that were created last, the newest
// first, at most so many; 0 is all.
func (x *Index) Newest(client string, limit int) []Entry {
	x.mu.Lock()
	defer x.mu.Unlock()
	whose, known := x.entries.numbers[client]
	if client != "" && !known {
		return nil
	}
	if limit <= 0 {
		limit = x.entries.runs
	}
	var best youngest
	// From behind: what is found first is nearly all of it.
	rank := 0
	for c, one := range x.entries.newestFirst() {
		if client != "" && one.client != whose {
			continue
		}
		switch {
		case len(best) < limit:
			heap.Push(&best, found{c, one, rank})
		case limit > 0 && one.created > best[0].one.created:
			best[0] = found{c, one, rank}
			heap.Fix(&best, 0)
		}
		rank++
	}
	slices.SortFunc(best, func(a, b found) int {
		return cmp.Or(cmp.Compare(b.one.created, a.one.created), cmp.Compare(a.rank, b.rank))
	})
	out := make([]Entry, len(best))
	for i, f := range best {
		out[i] = x.entries.export(f.c, f.one, x.opened)
	}
	return out
}

type found struct {
	c    *chunk
	one  *entry
	rank int // from the last that ended
}

// youngest is a heap with the oldest of the youngest on top.
type youngest []found

func (y youngest) Len() int { return len(y) }
func (y youngest) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(y[i].one.created, y[j].one.created), cmp.Compare(y[j].rank, y[i].rank)) < 0
}
func (y youngest) Swap(i, j int) { y[i], y[j] = y[j], y[i] }
func (y *youngest) Push(v any)   { *y = append(*y, v.(found)) }
func (y *youngest) Pop() any {
	last := len(*y) - 1
	v := (*y)[last]
	*y = (*y)[:last]
	return v
}
