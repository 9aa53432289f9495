package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"penstock/internal/atomicfile"
	"penstock/internal/trash"
)

// Staging is where an image is unpacked. It is no image before Commit, and a process
// that ends before leaves what the next Sweep takes away.
type Staging struct {
	store *Store
	dir   string
	lock  *os.File // tells a Sweep that this process lives
}

const stagedName = "image"

// Stage makes an empty root file system to unpack in.
func (s *Store) Stage(ctx context.Context) (*Staging, error) {
	// Under the lock, so that no Sweep sees the directory without its own.
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	g := &Staging{store: s, dir: filepath.Join(s.dir, newName, ulid.Make().String())}
	for _, d := range []string{g.dir, filepath.Join(g.dir, stagedName), g.Rootfs()} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, fmt.Errorf("image store: %w", err)
		}
	}
	if err := os.Chmod(g.Rootfs(), 0o755); err != nil { // what an image without an entry for its root has
		return nil, fmt.Errorf("image store: %w", err)
	}
	if g.lock, err = openLock(filepath.Join(g.dir, lockName)); err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	if ok, err := tryLock(g.lock, unix.LOCK_EX); err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("image store: lock %s: %w", g.lock.Name(), err), g.lock.Close())
	}
	return g, nil
}

// Rootfs is the root file system to be.
func (g *Staging) Rootfs() string { return filepath.Join(g.dir, stagedName, rootfsName) }

// Commit makes it an image: whole, on the disk, and with its name where it is to have
// one, or not at all. An image of the same digest that is there already stays, and
// this one goes.
func (g *Staging) Commit(ctx context.Context, r Record, name *Name) error {
	to, err := g.store.pathOf(r.Digest)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if len(text) >= recordMost {
		return fmt.Errorf("image %s: its environment is longer than %d bytes", Short(r.Digest), recordMost)
	}
	staged := filepath.Join(g.dir, stagedName)
	if err := atomicfile.Put(filepath.Join(staged, recordName), append(text, '\n'), nil); err != nil {
		return err
	}
	f, err := openLock(filepath.Join(staged, runsLock))
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fmt.Errorf("image store: %w", err)
	}
	// All of it before its name: a loss of power must not leave an image with holes.
	if err := syncFS(staged); err != nil {
		return fmt.Errorf("image store: %w", err)
	}
	unlock, err := g.store.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := g.store.Get(r.Digest); err != nil {
		if err := g.store.place(staged, to, r.Digest); err != nil {
			return fmt.Errorf("image store: %w", err)
		}
	}
	if name == nil {
		return nil
	}
	return g.store.writeName(*name)
}

// place gives what is unpacked its place, in which at most a damaged image lies. It is
// called under the lock.
func (s *Store) place(staged, to, digest string) error {
	if _, err := os.Lstat(to); err == nil {
		if gone, err := s.discard(digest); err != nil || !gone {
			return errors.Join(fmt.Errorf("%s: damaged, and held", to), err)
		}
	}
	if err := os.Rename(staged, to); err != nil {
		return err
	}
	return atomicfile.Flusher((*os.File).Sync).Dirs(filepath.Dir(to))
}

// Discard takes away what is left in the staging directory: after Commit little, before
// it all.
func (g *Staging) Discard() error {
	err := trash.Discard(g.dir)
	return errors.Join(err, g.lock.Close())
}

// syncFS flushes the file system that a directory lies on.
func syncFS(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return errors.Join(&os.PathError{Op: "syncfs", Path: dir, Err: err}, f.Close())
	}
	return f.Close()
}
