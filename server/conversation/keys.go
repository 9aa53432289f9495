package conversation

import (
	"sync"

	"penstock/server/dialect"
)

// Keys finds the runs whose ids don't fit into those of answers (see dialect.Key). Safe for
// concurrent use.
type Keys struct {
	// Kept tells whether a run is still known; set before Add. Of those that aren't, no more are
	// remembered than of those that are.
	Kept func(run string) bool

	mu     sync.Mutex
	runs   map[string]string // by key
	tidyAt int
}

// tidyMin is how few are never looked through.
const tidyMin = 64

// Add makes a run known.
func (k *Keys) Add(run string) {
	key, own := dialect.Key(run)
	if own {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.runs == nil {
		k.runs, k.tidyAt = map[string]string{}, tidyMin
	}
	if len(k.runs) >= k.tidyAt {
		k.tidy()
	}
	k.runs[key] = run
}

func (k *Keys) tidy() {
	for key, run := range k.runs {
		if !k.Kept(run) {
			delete(k.runs, key)
		}
	}
	k.tidyAt = max(tidyMin, 2*len(k.runs))
}

// Run is the id of the run with that key, be it kept or not; "" is not known.
func (k *Keys) Run(key string) string {
	if key == "" || key[0] != '-' {
		return key
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.runs[key]
}
