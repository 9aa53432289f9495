package run

import (
	"container/list"
	"iter"
)

// keptRuns are finished runs in the order of their ends, which is the order in which
// they go. To add, find and remove one costs the same however many there are.
type keptRuns struct {
	order list.List // of *Run, the oldest first
	at    map[string]*list.Element
	bytes int64 // of their output
}

func (k *keptRuns) runs() int { return len(k.at) }

// add is for the run that has ended last.
func (k *keptRuns) add(r *Run) { k.insert(r, k.order.PushBack(r)) }

// putBack is for one that was removed to be pruned and can't be.
func (k *keptRuns) putBack(r *Run) { k.insert(r, k.order.PushFront(r)) }

func (k *keptRuns) insert(r *Run, at *list.Element) {
	if k.at == nil {
		k.at = map[string]*list.Element{}
	}
	k.at[r.id] = at
	k.bytes += r.Record().OutputBytes
}

func (k *keptRuns) get(id string) (*Run, bool) {
	at, ok := k.at[id]
	if !ok {
		return nil, false
	}
	return at.Value.(*Run), true
}

func (k *keptRuns) remove(id string) {
	at, ok := k.at[id]
	if !ok {
		return
	}
	k.order.Remove(at)
	delete(k.at, id)
	k.bytes -= at.Value.(*Run).Record().OutputBytes
}

// all are the oldest first; the one it is at may be removed.
func (k *keptRuns) all() iter.Seq[*Run] {
	return func(yield func(*Run) bool) {
		for at := k.order.Front(); at != nil; {
			next := at.Next()
			if !yield(at.Value.(*Run)) {
				return
			}
			at = next
		}
	}
}
