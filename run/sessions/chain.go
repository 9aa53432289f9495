package sessions

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"penstock/internal/atomicfile"
	"penstock/run/store"
)

// ErrNotLast is wrapped where a session has had another turn since.
var ErrNotLast = errors.New("not its session's last turn")

// chainID is a chain among those of one client.
type chainID [16]byte

func idOf(client string, chain store.Chain) (id chainID) { return hashed(client, 0, chain) }

// sharedID stands for a chain that a second session has had.
func sharedID(client string, chain store.Chain) chainID { return hashed(client, 1, chain) }

func hashed(client string, kind byte, chain store.Chain) (id chainID) {
	sum := sha256.Sum256(append(append([]byte(client), 0, kind), chain[:]...))
	copy(id[:], sum[:])
	return id
}

// chains find sessions by what was said in them. A chain that a second session has had,
// whatever became of the first, finds none: the texts of two people who share a client may
// be the same for a while, and what they work in is not. Registry.mu guards them.
type chains struct {
	seen     *seen
	of       map[chainID]string // session keys, by the one session's that has had it and has it
	expected map[chainID]string // by what a session will have once its turn is over
}

// index takes a session's chain in as it was read.
func (c *chains) index(key string, one Session, now time.Time) error {
	if one.Chain == (store.Chain{}) {
		return nil
	}
	id, shared := idOf(one.Client, one.Chain), sharedID(one.Client, one.Chain)
	if _, twice := c.of[id]; twice {
		delete(c.of, id)
		return c.seen.add(shared, now, nil)
	}
	if !c.seen.has(shared) {
		c.of[id] = key
	}
	if !c.seen.has(id) {
		return c.seen.add(id, now, nil)
	}
	return nil
}

// forget is for a session that goes, or has another turn. Its chain stays seen.
func (c *chains) forget(key string, one Session) {
	if id := idOf(one.Client, one.Chain); c.of[id] == key {
		delete(c.of, id)
	}
}

// ByChain gives the one session of a client that has a chain and is the only one that ever
// had it. settles tells that it will have it once its turn is over.
func (r *Registry) ByChain(client string, chain store.Chain) (key string, settles, ok bool) {
	id := idOf(client, chain)
	r.mu.Lock()
	defer r.mu.Unlock()
	if key, ok = r.chains.of[id]; ok {
		return key, false, true
	}
	key, ok = r.chains.expected[id]
	return key, ok, ok
}

// Say is to be called before a client is told the last word of a conversation: its session
// will have the chain once its turn is over, unless the client was ever told the same in
// another one. Then it finds none from now on, for the client may go on before either turn
// is over, or when one never is. A session of "" is one that is found by no chain.
func (r *Registry) Say(client, session string, chain store.Chain) error {
	key, id := Key(client, session), idOf(client, chain)
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &r.chains
	if session != "" && (c.of[id] == key || c.expected[id] == key) {
		return nil
	}
	if c.seen.has(id) {
		delete(c.of, id)
		delete(c.expected, id)
		return c.seen.add(sharedID(client, chain), time.Now(), nil)
	}
	if session != "" {
		c.expected[id] = key
	}
	return c.seen.add(id, time.Now(), nil)
}

// Unexpect is for a turn that is over, or that is to end with another chain.
func (r *Registry) Unexpect(client, session string, chain store.Chain) {
	id := idOf(client, chain)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.chains.expected[id] == Key(client, session) {
		delete(r.chains.expected, id)
	}
}

// SetChain is for a turn that is whole: the chain of the conversation after it. cliSession
// is what the CLI called it in that turn. The session has no chain where any other has ever
// had this one, nor has the other.
func (r *Registry) SetChain(key, run, cliSession string, chain store.Chain, flush atomicfile.Flusher) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	one, ok := r.known[key]
	switch {
	case !ok || run == "" || one.LastRun != run:
		return ErrNotLast
	case cliSession == "" || one.CLISession != cliSession:
		return fmt.Errorf("session %q: its CLI calls it %q in that turn, and %q is known", one.Session, cliSession, one.CLISession)
	case one.Chain == chain:
		return nil
	}
	r.chains.forget(key, one)
	id, before := idOf(one.Client, chain), one.Chain
	one.Chain = chain
	alone := r.chains.expected[id] == key
	if alone {
		delete(r.chains.expected, id)
	}
	shared := !alone && r.chains.seen.has(id)
	if shared {
		delete(r.chains.of, id)
		id, one.Chain = sharedID(one.Client, chain), store.Chain{}
	}
	if err := r.chains.seen.add(id, time.Now(), flush); err != nil || one.Chain == before {
		return err
	}
	if err := r.put(key, one, flush); err != nil || shared {
		return err
	}
	r.chains.of[id] = key
	return nil
}

// SaveChains writes down what could not be when it was to.
func (r *Registry) SaveChains() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.chains.seen.retry()
}
