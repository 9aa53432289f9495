package metrics

import (
	"slices"
	"sync/atomic"
)

const other = "other"

// bound keeps the values of a label few: who isn't the operator's word, such as
// one of many uids, is "other". Safe for concurrent use.
type bound struct {
	known atomic.Pointer[map[string]bool]
}

func newBound(names []string) *bound {
	b := &bound{}
	b.set(names)
	return b
}

func (b *bound) set(names []string) {
	known := make(map[string]bool, len(names))
	for _, n := range names {
		known[n] = true
	}
	b.known.Store(&known)
}

func (b *bound) label(name string) string {
	if (*b.known.Load())[name] {
		return name
	}
	return other
}

// values are all known names, sorted.
func (b *bound) values() []string {
	var out []string
	for name := range *b.known.Load() {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
