// Package image is the store of the root file systems that runs may have in place of
// the host's: each unpacked once, by its digest, and never written to again.
//
//	Store ── DIR/            0700: set-ID files in it are nobody else's        store.go
//	 ├─ lock                 held for a moment while names and digests change
//	 ├─ names/NAME.json      Name, a digest's name                             names.go
//	 ├─ sha256/HEX/          an image: rootfs/, Record, and                    store.go
//	 │    runs.lock          held shared by each run that uses it: Use         use.go
//	 ├─ pins/HEX             held shared by each daemon whose configuration names that
//	 │                       digest, also before it is unpacked: Pin
//	 ├─ in-force.json        what the names of the last daemon's configuration mean    inforce.go
//	 ├─ new/ID/              Staging: being unpacked, held by who unpacks it   staging.go
//	 └─ trash/               being deleted
//	Store.Sweep, Store.Remove    what nothing refers to, what was interrupted  sweep.go
//	Layout ─ an OCI image layout on disk, read only: tag -> Found              layout.go, choose.go
//	Manager  a daemon's images: configured and named, resolved, held           manager.go
//	Find, Lookup             the same without a daemon                         find.go
//	Root ─── files of an image, looked up as a run in it would; what a         root.go
//	         program needs of it: Root.Check                                   check.go, elf.go
//
// What holds an image is flock(2) on a file of it, shared, by descriptors: the kernel
// lets go of what was killed, any process can see what is held, and a descriptor that a
// run's first process inherits holds it across the daemon's death. An image comes into
// its place by one rename, when all of it is on the disk, and goes by one: so what is
// in sha256/ is whole, whenever a process was killed.
//
// Layers are unpacked by package unpack, in a process of its own.
package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"penstock/internal/backoff"
	"penstock/internal/hint"
	"penstock/internal/openat"
)

// Store is a directory of images. Safe for concurrent use, also by several processes.
type Store struct{ dir string }

const (
	dirName    = "images"
	namesName  = "names"
	byDigest   = "sha256"
	newName    = "new"
	rootfsName = "rootfs"
	recordName = "image.json"
	runsLock   = "runs.lock"
	pinsName   = "pins"
	lockName   = "lock"
	// recordMost is how long a file of the store may be that is read whole.
	recordMost = 1 << 20
	// besideSuffix makes the name of the directory beside a state directory where, as
	// with the unit, its user's runs have their HOME in that; see package run/store.
	besideSuffix = ".store"
)

// Dir is where the images of a state directory lie: in it, but for the daemon of a
// user whose runs have it as their HOME. Root's runs are kept out of it by a mount.
func Dir(stateDir string) string {
	if real, err := filepath.EvalSymlinks(stateDir); err == nil {
		stateDir = real
	}
	var state, beside unix.Stat_t
	if unix.Stat(stateDir, &state) == nil && state.Uid != 0 && unix.Lstat(stateDir+besideSuffix, &beside) == nil &&
		beside.Mode&unix.S_IFMT == unix.S_IFDIR && beside.Mode&0o077 == 0 && beside.Uid == state.Uid {
		return filepath.Join(stateDir+besideSuffix, dirName)
	}
	return filepath.Join(stateDir, dirName)
}

// Open makes what is missing of a store.
func Open(dir string) (*Store, error) {
	for _, d := range []string{dir, filepath.Join(dir, namesName), filepath.Join(dir, byDigest), filepath.Join(dir, pinsName), filepath.Join(dir, newName)} {
		if err := os.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("image store: %w", err)
		}
	}
	return existing(dir)
}

// OpenExisting makes nothing: an error that is fs.ErrNotExist says that there is none.
func OpenExisting(dir string) (*Store, error) {
	if _, err := os.Lstat(filepath.Join(dir, newName)); err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	return existing(dir)
}

// existing is a store that is ours alone.
func existing(dir string) (*Store, error) {
	var is unix.Stat_t
	if err := unix.Lstat(dir, &is); err != nil {
		return nil, fmt.Errorf("image store: %s: %w", dir, err)
	}
	switch {
	case is.Mode&unix.S_IFMT != unix.S_IFDIR:
		return nil, fmt.Errorf("image store: %s: not a directory", dir)
	case int(is.Uid) != os.Geteuid():
		return nil, hint.Errorf("call it as the daemon's user, or as root", "image store: %s: it is user %d's, and this is user %d", dir, is.Uid, os.Geteuid())
	case is.Mode&0o077 != 0:
		if err := os.Chmod(dir, 0o700); err != nil {
			return nil, fmt.Errorf("image store: %w", err)
		}
	}
	return &Store{dir: dir}, nil
}

// Path is where the store lies.
func (s *Store) Path() string { return s.dir }

// Record is what is known of an image that is unpacked.
type Record struct {
	Digest       string    `json:"digest"`             // of its manifest; of an archive's configuration; of a directory's files
	ImageID      string    `json:"image_id,omitempty"` // the digest of its configuration
	Architecture string    `json:"architecture,omitempty"`
	Env          []string  `json:"env,omitempty"` // as its configuration has it
	Size         int64     `json:"size"`          // bytes of its layers, unpacked
	Files        int64     `json:"files"`         // entries of its layers
	Source       string    `json:"source"`        // what it was unpacked from
	Unpacked     time.Time `json:"unpacked"`
	// Without is what this process might not make: owners, devices, set-ID bits, file
	// capabilities. A run has no use for any of them.
	Without []string `json:"without,omitempty"`
}

// ErrGone is wrapped when a digest is not in the store.
var ErrGone = errors.New("not in the store")

// Get is the record of a digest.
func (s *Store) Get(digest string) (Record, error) {
	var r Record
	path, err := s.pathOf(digest)
	if err != nil {
		return r, err
	}
	err = readJSON(filepath.Join(path, recordName), &r)
	if errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("image %s: %w", Short(digest), ErrGone)
	}
	if err == nil && r.Digest != digest {
		err = fmt.Errorf("image %s: its record is of %q", Short(digest), r.Digest)
	}
	return r, err
}

// Has tells whether a digest is in the store, whole.
func (s *Store) Has(digest string) bool {
	_, err := s.Get(digest)
	return err == nil
}

// Rootfs is the root file system of a digest.
func (s *Store) Rootfs(digest string) (string, error) {
	path, err := s.pathOf(digest)
	return filepath.Join(path, rootfsName), err
}

// digests are all that are in the store.
func (s *Store) digests() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, byDigest))
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	var all []string
	for _, e := range entries {
		if d := byDigest + ":" + e.Name(); CheckDigest(d) == nil {
			all = append(all, d)
		}
	}
	return all, nil
}

func (s *Store) pathOf(digest string) (string, error) {
	if err := CheckDigest(digest); err != nil {
		return "", err
	}
	return filepath.Join(s.dir, byDigest, strings.TrimPrefix(digest, byDigest+":")), nil
}

// CheckDigest takes "sha256:" and 64 small hexadecimal digits.
func CheckDigest(digest string) error {
	hex, ok := strings.CutPrefix(digest, byDigest+":")
	if !ok || len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return fmt.Errorf("%.100q is no sha256 digest", digest)
	}
	return nil
}

// Short is a digest for people: its first twelve digits.
func Short(digest string) string {
	hex := strings.TrimPrefix(digest, byDigest+":")
	return hex[:min(12, len(hex))]
}

// lockMax is how long the store's lock is waited for; nothing is unpacked or deleted under it.
const lockMax = 30 * time.Second

// lock takes the store's lock. Names and digests change under it alone.
func (s *Store) lock(ctx context.Context) (unlock func(), err error) {
	f, err := openLock(filepath.Join(s.dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, lockMax, fmt.Errorf("another process has held it for %s", lockMax))
	defer cancel()
	wait := backoff.Policy{First: time.Millisecond, Max: 50 * time.Millisecond}
	for try := 0; ; try++ {
		ok, err := tryLock(f, unix.LOCK_EX)
		if ok {
			return func() { _ = f.Close() }, nil // closing is what releases it
		}
		if err == nil {
			err = wait.Wait(ctx, try)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("image store: lock %s: %w", f.Name(), err), f.Close())
		}
	}
}

// openLock opens a file to be locked, and makes it where it isn't there.
func openLock(path string) (*os.File, error) {
	return openat.Kind(path, os.O_RDWR|os.O_CREATE, 0)
}

// tryLock is flock(2) that doesn't wait; it is false where another holds it.
func tryLock(f *os.File, how int) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case err != nil:
			return false, &os.PathError{Op: "flock", Path: f.Name(), Err: err}
		default:
			return true, nil
		}
	}
}

func readJSON(path string, into any) error {
	f, _, err := openat.Regular(path)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, recordMost+1))
	if err != nil {
		return err
	}
	if len(text) > recordMost {
		return fmt.Errorf("%s: longer than %d bytes", path, recordMost)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("parse %s: %w", path, err)
	}
	return nil
}
