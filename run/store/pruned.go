package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"

	"penstock/internal/atomicfile"
	"penstock/internal/openat"
)

const (
	PrunedName = "pruned" // in the store
	// prunedMax is how many durable runs are remembered that are not kept any more.
	prunedMax = 10_000
	// prunedFileMax is room for twice as many lines, the longest there are.
	prunedFileMax = 2 * prunedMax * (128 + 1 + 2*sha256.Size + 1)
)

// Pruned remembers the ids of durable runs that are not kept any more, the newest
// ones, and whose requests they were: an agent that has acted is not run again
// because the same request comes late. Safe for concurrent use.
type Pruned struct {
	paths []string // the first is read, the other is its copy; a line each, the newest last

	mu     sync.Mutex
	of     map[string]string // id -> requester
	order  []string          // ids, the oldest first
	inFile int               // lines
}

// requester is what tells a client's request from others.
func requester(client string, fingerprint []byte) string {
	sum := sha256.Sum256(append([]byte(client+"\x00"), fingerprint...))
	return hex.EncodeToString(sum[:])
}

// OpenPruned reads what an earlier daemon remembered; a line that isn't whole is
// of a crash, and its run's files are still there.
func OpenPruned(paths []string) (*Pruned, error) {
	p := &Pruned{paths: paths, of: map[string]string{}}
	data, err := readUpTo(paths[0], prunedFileMax)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("runs that are not kept any more: %w", err)
	}
	for line := range bytes.Lines(data) {
		id, whose, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		p.inFile++
		if ok && bytes.HasSuffix(line, []byte("\n")) && CheckID(id) == nil {
			p.remember(id, whose)
		}
	}
	if len(data) > 0 && !bytes.HasSuffix(data, []byte("\n")) {
		p.inFile = 2 * prunedMax // nothing can be appended: save writes it anew
	}
	return p, nil
}

func (p *Pruned) remember(id, whose string) {
	if _, known := p.of[id]; !known {
		p.order = append(p.order, id)
	}
	p.of[id] = whose
	for len(p.order) > prunedMax {
		delete(p.of, p.order[0])
		p.order = p.order[1:]
	}
}

// Add remembers a run from now on; save writes it down.
func (p *Pruned) Add(id, client string, fingerprint []byte) {
	if fingerprint == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remember(id, requester(client, fingerprint))
}

// Save writes down runs that were added, before their files go.
func (p *Pruned) Save(ids []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var text strings.Builder
	lines := 0
	for _, id := range ids {
		if whose, ok := p.of[id]; ok {
			fmt.Fprintf(&text, "%s %s\n", id, whose)
			lines++
		}
	}
	if lines == 0 {
		return nil
	}
	if p.inFile+lines > 2*prunedMax {
		return p.rewrite()
	}
	p.inFile += lines
	var errs []error
	for _, path := range p.paths {
		errs = append(errs, appendTo(path, text.String()))
	}
	err := errors.Join(errs...)
	if err != nil {
		p.inFile = 2 * prunedMax // what there is of a line must not be appended to: the next Save writes all anew
	}
	return err
}

func appendTo(path, text string) error {
	f, err := openat.Kind(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func (p *Pruned) rewrite() error {
	var text strings.Builder
	for _, id := range p.order {
		fmt.Fprintf(&text, "%s %s\n", id, p.of[id])
	}
	for _, path := range p.paths {
		if err := atomicfile.Replace(path, []byte(text.String()), nil); err != nil {
			return err
		}
	}
	p.inFile = len(p.order)
	return nil
}

// Has tells whether a run of that id and of the same request was added.
func (p *Pruned) Has(id, client string, fingerprint []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	whose, ok := p.of[id]
	return ok && whose == requester(client, fingerprint)
}
