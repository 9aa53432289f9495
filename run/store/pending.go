package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"penstock/internal/atomicfile"
)

// pendingName is a directory in the store with a file for each request that was answered before
// its run is started, until there is a record of that.
const pendingName = "pending"

// pendingPrefix keeps an id from reading as an unfinished file.
const pendingPrefix = "run-"

// Pending is a request that was answered before its run is started: all that the next daemon
// needs to start it.
type Pending struct {
	ID          string    `json:"id"` // of the run to come
	Client      string    `json:"client"`
	Operator    bool      `json:"operator,omitempty"`
	Dialect     string    `json:"dialect"`
	Session     string    `json:"session,omitempty"` // also where a header named it
	Fingerprint []byte    `json:"fingerprint"`
	Received    time.Time `json:"received"`
	Body        []byte    `json:"-"` // as it came; no longer than AskedMax
}

// pendingHeadMax bounds all of the file but the body.
const pendingHeadMax = 64 << 10

func (s *StateDir) pendingFiles(id string) []string {
	return s.Store.Of(pendingName, pendingPrefix+id)
}

// SavePending has the request on the disk when it returns, or leaves nothing of it.
func (s *StateDir) SavePending(p Pending, flush atomicfile.Flusher) error {
	if err := CheckID(p.ID); err != nil {
		return err
	}
	head, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if len(head) >= pendingHeadMax || len(p.Body) > AskedMax {
		return fmt.Errorf("pending request %s: %d and %d bytes: more than would be read", p.ID, len(head), len(p.Body))
	}
	file := slices.Concat(make([]byte, askedHeadLen), head, []byte("\n"), p.Body)
	copy(file, fmt.Appendf(nil, askedHead, crc32.Checksum(file[askedHeadLen:], castagnoli())))
	for _, path := range s.pendingFiles(p.ID) {
		if err := withAccess(path, func() error { return atomicfile.Replace(path, file, flush) }); err != nil {
			return errors.Join(orRemoved(err), s.ForgetPending(p.ID))
		}
	}
	return nil
}

// ForgetPending is for a request whose run has a record, or that was refused.
func (s *StateDir) ForgetPending(id string) error {
	for _, path := range slices.Backward(s.pendingFiles(id)) {
		if err := withAccess(path, func() error { return os.Remove(path) }); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Pending are the requests that are kept, in the order in which they came. bad hears of files that
// hold none; those with the name of a request are removed.
func (s *StateDir) Pending(bad func(path string, err error)) (out []Pending, err error) {
	err = eachName(s.Store.Of(pendingName)[0], func(name string) {
		path := s.Store.Of(pendingName, name)[0]
		p, err := readPending(path)
		if err == nil && pendingPrefix+p.ID != name {
			err = errors.New("name and content differ")
		}
		switch {
		case err == nil:
			out = append(out, p)
		case IsTransient(err): // a later daemon may
			bad(path, err)
		default:
			bad(path, errors.Join(err, s.ForgetPending(strings.TrimPrefix(name, pendingPrefix))))
		}
	})
	slices.SortFunc(out, func(a, b Pending) int {
		if c := a.Received.Compare(b.Received); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, err
}

func readPending(path string) (p Pending, err error) {
	if !strings.HasPrefix(filepath.Base(path), pendingPrefix) {
		return p, errors.New("not the name of a request")
	}
	file, err := readUpTo(path, askedHeadLen+pendingHeadMax+AskedMax)
	if err != nil {
		return p, err
	}
	if len(file) < askedHeadLen || string(file[:askedHeadLen]) != fmt.Sprintf(askedHead, crc32.Checksum(file[askedHeadLen:], castagnoli())) {
		return p, fmt.Errorf("%d bytes: not what was written there", len(file))
	}
	head, body, _ := bytes.Cut(file[askedHeadLen:], []byte("\n"))
	p.Body = body
	return p, json.Unmarshal(head, &p)
}
