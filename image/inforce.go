package image

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"penstock/internal/atomicfile"
)

// inForceName is the file in which a daemon says what the names of its configuration mean to
// its runs. A tag may mean something else by now, which isn't unpacked: the next daemon goes
// on with this one until it is, and no other process removes it meanwhile.
const inForceName = "in-force.json"

// InForce is the digest that runs of each name get; empty before a daemon has written it.
func (s *Store) InForce() (digests map[string]string, err error) {
	err = readJSON(filepath.Join(s.dir, inForceName), &digests)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return digests, err
}

// putInForce replaces them, where they are others.
func (s *Store) putInForce(ctx context.Context, digests map[string]string) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if was, err := s.InForce(); err == nil && maps.Equal(was, digests) {
		return nil
	}
	text, err := json.MarshalIndent(digests, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Replace(filepath.Join(s.dir, inForceName), append(text, '\n'), (*os.File).Sync)
}

// refersTo says what keeps a digest in the store beside locks; "" is nothing. A name is left
// out of what is asked.
func (s *Store) refersTo(digest string, refs Refs, names []Name, except string) (string, error) {
	for _, n := range names {
		if n.Digest == digest && n.Name != except {
			return "image " + n.Name + " is the same", nil
		}
	}
	if key, ok := refs.Digests[digest]; ok {
		return key + " of the configuration is the same", nil
	}
	if refs.Unknown {
		return "a tag of the configuration can't be read, and may mean it", nil
	}
	was, err := s.InForce()
	for name, d := range was {
		if d == digest {
			return "images." + name + " was it when a daemon last looked", err
		}
	}
	return "", err
}

// before holds what a name meant to an earlier daemon, if that is still there.
func (m *Manager) before(ctx context.Context, name string) *content {
	was, err := m.store.InForce()
	digest := was[name]
	if err == nil && digest == "" {
		return nil
	}
	var pin *os.File
	if err == nil {
		pin, err = m.store.Pin(ctx, digest)
	}
	if err != nil {
		m.log.Warn("what an image meant before isn't known", "image", name, "error", err)
		return nil
	}
	before := &content{digest: digest, pin: pin}
	if !m.store.Has(digest) {
		_ = before.release() // nothing is held
		return nil
	}
	return before
}

// settle writes down what is in force, and takes away what nothing refers to any more: in
// this order, for what is written down is kept.
func (m *Manager) settle() {
	m.settling.Lock()
	defer m.settling.Unlock()
	m.mu.Lock()
	digests, refs := map[string]string{}, Refs{Digests: map[string]string{}}
	for name, c := range m.images {
		if c.have != nil && c.have.digest != "" {
			digests[name] = c.have.digest
		}
		for _, held := range []*content{c.want, c.have} {
			if held != nil && held.digest != "" {
				refs.Digests[held.digest] = "images." + name
			}
		}
	}
	closed := m.ctx.Err()
	m.mu.Unlock()
	if closed != nil { // the next daemon may have taken its own
		return
	}
	if err := m.store.putInForce(m.ctx, digests); err != nil {
		m.log.Warn("which images are in force is not written down", "error", err)
	}
	swept, err := m.store.Sweep(m.ctx, refs)
	if len(swept.Digests) > 0 || swept.Interrupted > 0 {
		m.log.Info("images removed", "digests", swept.Digests, "interrupted", swept.Interrupted)
	}
	if err != nil && m.ctx.Err() == nil {
		m.log.Warn("images not swept", "error", err)
	}
}
