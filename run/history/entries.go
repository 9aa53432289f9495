package history

import (
	"cmp"
	"hash/maphash"
	"iter"
	"math"
	"slices"
	"time"
)

// position is where a line lies: a segment's number, and the line without its line feed.
type position struct {
	segment        uint32
	offset, length uint32
}

// entry is what is kept in memory of a run that has ended. It has no pointer, so that a
// garbage collection costs the same however many there are.
type entry struct {
	created int64 // microseconds since 1970
	ended   int64 // nanoseconds from when the index was opened, by a clock that is never set
	bytes   int64
	at      position
	client  uint32 // its number
	id      uint32 // where the id begins in its chunk
	idLen   uint8
	filed   bool
	asked   bool
	state   state
}

type state uint8

const (
	shown  state = iota
	hidden       // it is being removed
	gone
)

const chunkLen = 1024

// chunk is a part of the order. One that is full and of which all is gone holds nothing, be
// it behind a run that can't be removed.
type chunk struct {
	entries []entry
	ids     []byte
	left    int // not gone
	spent   bool
}

// entries are the runs in the order of their ends, each with a number that rises. Index.mu guards them.
type entries struct {
	chunks []*chunk
	first  uint64 // number of the first chunk's first
	byHash map[uint64]uint64
	// others are of the runs whose hash is another's.
	others  map[string]uint64
	hash    func(string) uint64
	clients []string
	numbers map[string]uint32 // of clients
	runs    int               // shown
	bytes   int64             // of their output
}

func newEntries() entries {
	seed := maphash.MakeSeed()
	return entries{
		byHash: map[uint64]uint64{}, others: map[string]uint64{}, numbers: map[string]uint32{},
		hash: func(id string) uint64 { return maphash.String(seed, id) },
	}
}

func (e *entries) at(n uint64) (*chunk, *entry) {
	c := e.chunks[(n-e.first)/chunkLen]
	return c, &c.entries[(n-e.first)%chunkLen]
}

func (c *chunk) name(x *entry) string { return string(c.ids[x.id : x.id+uint32(x.idLen)]) }

// find gives the number of a run that is shown or hidden.
func (e *entries) find(id string) (uint64, bool) {
	if n, ok := e.byHash[e.hash(id)]; ok {
		if c, x := e.at(n); c.name(x) == id {
			return n, true
		}
	}
	n, ok := e.others[id]
	return n, ok
}

// add puts a run behind all others.
func (e *entries) add(id, client string, x entry) {
	if n := len(e.chunks); n == 0 || e.chunks[n-1].spent || len(e.chunks[n-1].entries) == chunkLen {
		e.chunks = append(e.chunks, &chunk{entries: make([]entry, 0, chunkLen)})
	}
	c := e.chunks[len(e.chunks)-1]
	n := e.first + uint64(len(e.chunks)-1)*chunkLen + uint64(len(c.entries))
	x.id, x.idLen, x.client = uint32(len(c.ids)), uint8(len(id)), e.number(client)
	c.ids = append(c.ids, id...)
	c.entries = append(c.entries, x)
	c.left++
	if h := e.hash(id); has(e.byHash, h) {
		e.others[id] = n
	} else {
		e.byHash[h] = n
	}
	e.count(&x, +1)
}

func has[K comparable, V any](m map[K]V, k K) bool { _, ok := m[k]; return ok }

func (e *entries) number(client string) uint32 {
	n, ok := e.numbers[client]
	if !ok {
		n = uint32(len(e.clients))
		e.clients = append(e.clients, client)
		e.numbers[client] = n
	}
	return n
}

func (e *entries) count(x *entry, sign int) {
	if x.state == shown {
		e.runs += sign
		e.bytes += int64(sign) * x.bytes
	}
}

func (e *entries) set(n uint64, to state) {
	c, x := e.at(n)
	e.count(x, -1)
	x.state = to
	e.count(x, +1)
	if to != gone {
		return
	}
	id := c.name(x)
	if h := e.hash(id); has(e.byHash, h) && e.byHash[h] == n {
		delete(e.byHash, h)
	} else {
		delete(e.others, id)
	}
	if c.left--; c.left == 0 && len(c.entries) == chunkLen {
		*c = chunk{spent: true}
	}
	for len(e.chunks) > 0 && e.chunks[0].spent {
		e.chunks[0] = nil
		e.chunks, e.first = e.chunks[1:], e.first+chunkLen
	}
}

// all are those that are not gone, the oldest first.
func (e *entries) all() iter.Seq2[*chunk, *entry] {
	return func(yield func(*chunk, *entry) bool) {
		for _, c := range e.chunks {
			if c.left == 0 {
				continue
			}
			for i := range c.entries {
				if x := &c.entries[i]; x.state != gone && !yield(c, x) {
					return
				}
			}
		}
	}
}

// newestFirst are those that are shown, the youngest first.
func (e *entries) newestFirst() iter.Seq2[*chunk, *entry] {
	return func(yield func(*chunk, *entry) bool) {
		for _, c := range slices.Backward(e.chunks) {
			for i := len(c.entries) - 1; i >= 0; i-- {
				if x := &c.entries[i]; x.state == shown && !yield(c, x) {
					return
				}
			}
		}
	}
}

// sort puts them in the order of their ends again.
func (e *entries) sort() {
	type named struct {
		id, client string
		entry
	}
	ordered, last := true, int64(math.MinInt64)
	for _, x := range e.all() {
		ordered, last = ordered && last <= x.ended, x.ended
	}
	if ordered {
		return
	}
	var all []named
	for c, x := range e.all() {
		all = append(all, named{c.name(x), e.clients[x.client], *x})
	}
	slices.SortStableFunc(all, func(a, b named) int { return cmp.Compare(a.ended, b.ended) })
	next := newEntries()
	next.hash = e.hash
	for _, one := range all {
		next.add(one.id, one.client, one.entry)
	}
	*e = next
}

// export is the entry as the callers of this package know it.
func (e *entries) export(c *chunk, x *entry, opened time.Time) Entry {
	return Entry{
		ID: c.name(x), Client: e.clients[x.client], Created: time.UnixMicro(x.created),
		Ended: opened.Add(time.Duration(x.ended)), Bytes: x.bytes, Filed: x.filed, Asked: x.asked,
	}
}
