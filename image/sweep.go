package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"penstock/internal/atomicfile"
	"penstock/internal/hint"
	"penstock/internal/trash"
)

// Refs are the digests that configurations name, in this moment.
type Refs struct {
	Digests map[string]string // the key that names each: images.NAME
	// Unknown is that one of them could not be read: then nothing is removed that it
	// may have meant.
	Unknown bool
}

// Swept is what a Sweep took away.
type Swept struct {
	Digests     []string
	Interrupted int // adds
}

// Sweep takes away digests to which no name, no configuration, no daemon and no run
// refers, and what adds left that were interrupted.
func (s *Store) Sweep(ctx context.Context, refs Refs) (Swept, error) {
	swept, err := s.sweepLocked(ctx, refs)
	return swept, errors.Join(err, s.emptyTrash())
}

// sweepLocked moves what is to go into the trash; to delete it can take long.
func (s *Store) sweepLocked(ctx context.Context, refs Refs) (swept Swept, err error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return swept, err
	}
	defer unlock()
	if swept.Interrupted, err = s.sweepNew(); err != nil || refs.Unknown {
		return swept, err
	}
	names, err := s.Names()
	if err != nil {
		return swept, err // a name that can't be read may mean any
	}
	digests, err := s.digests()
	if err != nil {
		return swept, err
	}
	errs := []error{s.sweepPins()}
	for _, d := range digests {
		by, err := s.refersTo(d, refs, names, "")
		if err != nil {
			return swept, errors.Join(append(errs, err)...) // it may be any
		}
		if by != "" {
			continue
		}
		gone, err := s.discard(d)
		if gone {
			swept.Digests = append(swept.Digests, d)
		}
		errs = append(errs, err)
	}
	return swept, errors.Join(errs...)
}

// sweepNew takes away what no process unpacks any more.
func (s *Store) sweepNew() (int, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, newName))
	if err != nil {
		return 0, fmt.Errorf("image store: %w", err)
	}
	n := 0
	var errs []error
	for _, e := range entries {
		dir := filepath.Join(s.dir, newName, e.Name())
		f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|unix.O_NOFOLLOW, 0)
		free := errors.Is(err, fs.ErrNotExist) // it ended before it had one: both happen under the store's lock
		if err == nil {
			free, err = tryLock(f, unix.LOCK_EX)
		}
		if free {
			n++
			_, err = trash.Move(dir)
		}
		errs = append(errs, err)
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return n, errors.Join(errs...)
}

// ErrInUse is wrapped when an image can't be removed because runs use it.
var ErrInUse = errors.New("runs use it")

// discard moves a digest into the trash, but for one that is held. It is called under the
// store's lock.
func (s *Store) discard(digest string) (gone bool, err error) {
	path, err := s.pathOf(digest)
	if err != nil {
		return false, err
	}
	release, free, err := seize(filepath.Join(path, runsLock), s.pinFile(digest))
	if err != nil || !free {
		return false, err
	}
	defer release()
	if _, err = trash.Move(path); err != nil {
		return false, fmt.Errorf("image %s: %w", Short(digest), err)
	}
	return true, os.Remove(s.pinFile(digest))
}

// seize takes files that would be held shared; it is not free where one is.
func seize(paths ...string) (release func(), free bool, err error) {
	var held []*os.File
	release = func() {
		for _, f := range held {
			_ = f.Close()
		}
	}
	for _, path := range paths {
		f, err := openLock(path)
		if err != nil {
			release()
			return nil, false, fmt.Errorf("image store: %w", err)
		}
		held = append(held, f)
		if free, err := tryLock(f, unix.LOCK_EX); err != nil || !free {
			release()
			return nil, false, err
		}
	}
	return release, true, nil
}

// sweepPins takes away what no daemon holds, of digests that aren't there.
func (s *Store) sweepPins() error {
	entries, err := os.ReadDir(filepath.Join(s.dir, pinsName))
	if err != nil {
		return fmt.Errorf("image store: %w", err)
	}
	var errs []error
	for _, e := range entries {
		digest := byDigest + ":" + e.Name()
		if path, err := s.pathOf(digest); err != nil {
			continue // no pin
		} else if _, err := os.Lstat(path); err == nil {
			continue
		}
		release, free, err := seize(s.pinFile(digest))
		if free {
			err = os.Remove(s.pinFile(digest))
			release()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Remove takes a name away, and its digest with it where nothing else refers to that: kept
// says what does. It is refused while runs use what would go.
func (s *Store) Remove(ctx context.Context, name string, refs Refs) (digest, kept string, err error) {
	digest, kept, err = s.removeLocked(ctx, name, refs)
	return digest, kept, errors.Join(err, s.emptyTrash())
}

func (s *Store) removeLocked(ctx context.Context, name string, refs Refs) (digest, kept string, err error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return "", "", err
	}
	defer unlock()
	n, err := s.Name(name)
	if err != nil {
		return "", "", err
	}
	names, err := s.Names()
	if err == nil {
		kept, err = s.refersTo(n.Digest, refs, names, name)
	}
	if err != nil {
		return n.Digest, "", err
	}
	if kept != "" {
		return n.Digest, kept, s.dropName(name)
	}
	path, err := s.pathOf(n.Digest)
	if err != nil {
		return n.Digest, "", err
	}
	release, free, err := seize(filepath.Join(path, runsLock))
	switch {
	case errors.Is(err, fs.ErrNotExist): // a digest that has gone all the same
		return n.Digest, "", s.dropName(name)
	case err != nil:
		return n.Digest, "", err
	case !free:
		return n.Digest, "", hint.Errorf("penstock ps shows them; try again when they have ended", "image %s: %w", name, ErrInUse)
	}
	// The name first: a digest without one is swept, a name without a digest is an error.
	err = s.dropName(name)
	release()
	if err != nil {
		return n.Digest, "", err
	}
	gone, err := s.discard(n.Digest)
	if err == nil && !gone {
		kept = "a daemon's configuration names it, or a run has just begun in it"
	}
	return n.Digest, kept, err
}

func (s *Store) dropName(name string) error {
	if err := os.Remove(s.nameFile(name)); err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	return atomicfile.Flusher((*os.File).Sync).Dirs(filepath.Join(s.dir, namesName))
}

// emptyTrash deletes outside of the lock.
func (s *Store) emptyTrash() error {
	err := trash.Empty(filepath.Join(s.dir, trash.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
