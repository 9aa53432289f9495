package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"

	"golang.org/x/sys/unix"

	"penstock/backend"
	"penstock/internal/atomicfile"
	"penstock/internal/openat"
	"penstock/internal/trash"
)

// Names in a run's directory. All but the two outputs are scratch and go when the
// run ends.
const (
	promptName = "prompt"
	StdinName  = "stdin"
	SpoolName  = "spool"
	StderrName = "stderr"
	TmpName    = "tmp"
	WorkName   = "work"
	HomeName   = "home"
)

// Names in a run's place in the store.
const (
	recordName     = "run.json"
	checkpointName = "checkpoint.json"
	endName        = "end.json"
	// The words of a conversation, as bytes: in the checkpoint a byte may take six.
	promptStoreName = "prompt"
	systemStoreName = "system"
	StdinLogName    = "said"
)

var idForm = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// CheckID refuses what can't be the name of a run's directory.
func CheckID(id string) error {
	if !idForm.MatchString(id) || id == "." || id == ".." {
		return fmt.Errorf("run id: %q: not 1 to 128 of A-Z a-z 0-9 . _ : - (and not . or ..)", id)
	}
	return nil
}

// Dir is one run's place on disk: its own, and what the daemon keeps of it
// in the store. The run's user, where there is one,
// owns tmp, work, home and the backend's files, never the directory itself: it
// must not be able to put its own record or spool in place of ours.
type Dir struct {
	Path   string
	User   *User
	Flush  atomicfile.Flusher // nil of a run that isn't durable
	Asked  int64              // bytes of what its client asked that are kept with it; 0 is that nothing is
	state  *StateDir
	stored []string // in the store; the first is read
}

// Run is the place of one run, which need not be there yet.
func (s *StateDir) Run(id string) *Dir {
	d := s.Indexed(id)
	d.stored = s.Store.Of("runs", id)
	return d
}

// Indexed is the place of a run whose record is in the index, which has none in the store.
func (s *StateDir) Indexed(id string) *Dir { return &Dir{Path: s.Runs() + "/" + id, state: s} }

// IsIndexed tells of such a place.
func (d *Dir) IsIndexed() bool { return d.stored == nil }

// Make fails with fs.ErrExist wrapped when the name is taken, and leaves nothing.
func (d *Dir) Make(u *User) (err error) {
	for i, p := range d.stored {
		if i == 0 {
			if err := os.Mkdir(p, 0o700); err != nil {
				return fmt.Errorf("run directory: %w", orRemoved(err))
			}
		} else if err == nil {
			err = os.MkdirAll(p, 0o700)
		}
	}
	d.User = u
	if err == nil {
		err = PassableDir(d.Path, u)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("run directory: %w", orRemoved(err)), d.removeStored())
	}
	if err := d.Mkdir(TmpName); err != nil {
		return errors.Join(err, d.Remove())
	}
	return nil
}

// ErrRemoved is a state directory that was there when the daemon started.
var ErrRemoved = errors.New("removed while the daemon runs")

// orRemoved names the cause where a new directory has none to lie in: the daemon
// made that one at its start.
func orRemoved(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.Join(ErrRemoved, err)
	}
	return err
}

// PassableDir makes a directory of the daemon's own that another user's processes
// have to pass through, whatever the umask: one of 027 or 077 closes it to them.
func PassableDir(path string, u *User) error {
	err := os.Mkdir(path, 0o700)
	if err != nil || u == nil {
		return err
	}
	if err := os.Chmod(path, 0o711); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// File is a path in the run's own directory, where its processes may write.
func (d *Dir) File(name string) string { return d.Path + "/" + name }

// StorePath is the path of what the daemon believes.
func (d *Dir) StorePath(name string) string { return filepath.Join(d.stored[0], name) }

func (d *Dir) storePaths(name string) (out []string) {
	for _, p := range d.stored {
		out = append(out, filepath.Join(p, name))
	}
	return out
}

// FlushNames gets the names of the run's directory, and of those it lies in, onto the
// disk: what they hold is there already.
func (d *Dir) FlushNames() error {
	dirs := []string{d.Path, filepath.Dir(d.Path)}
	for _, p := range d.stored {
		dirs = append(dirs, filepath.Dir(p))
	}
	return d.Flush.Dirs(dirs...)
}

// FlushStored gets the names of what the store has of the run onto the disk.
func (d *Dir) FlushStored() error { return d.Flush.Dirs(d.stored...) }

// Mkdir makes a directory in the run's own, for its user.
func (d *Dir) Mkdir(name string) error {
	p := d.File(name)
	if err := os.Mkdir(p, 0o700); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	return d.User.Own(p)
}

// WriteFiles puts the backend's files below the directory, never outside it and
// never over what is there. The user gets them when all are written, children
// before parents.
func (d *Dir) WriteFiles(files []backend.File) error {
	if len(files) == 0 {
		return nil
	}
	root, err := d.root()
	if err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	defer root.Close()
	var made []string // parents before children
	for _, f := range files {
		if err := d.writeOne(root, f, &made); err != nil {
			return fmt.Errorf("run directory: adapter's file %q: %w", f.Name, err)
		}
	}
	if d.User == nil {
		return nil
	}
	for _, name := range slices.Backward(made) {
		if err := root.Lchown(name, int(d.User.UID), int(d.User.GID)); err != nil {
			return fmt.Errorf("run directory: give %q to user %s: %w", name, d.User.Name, err)
		}
	}
	return nil
}

func (d *Dir) writeOne(root *os.Root, f backend.File, made *[]string) error {
	name := path.Clean(f.Name)
	if !filepath.IsLocal(name) || name == "." {
		return errors.New("not a path below the run's directory")
	}
	if err := parents(root, path.Dir(name), made); err != nil {
		return err
	}
	out, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	*made = append(*made, name)
	_, err = out.Write(f.Data)
	return errors.Join(err, out.Close())
}

func parents(root *os.Root, dir string, made *[]string) error {
	if dir == "." {
		return nil
	}
	if err := parents(root, path.Dir(dir), made); err != nil {
		return err
	}
	err := root.Mkdir(dir, 0o700)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	*made = append(*made, dir)
	return nil
}

// RemoveScratch deletes all but the outputs, and in the store what only a live run
// needs. A directory that the child has removed is no error.
func (d *Dir) RemoveScratch() error {
	var errs []error
	if d.Flush != nil { // of one that isn't durable the store has no words
		for _, name := range []string{promptStoreName, systemStoreName, StdinLogName} {
			for _, p := range d.storePaths(name) {
				if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
					errs = append(errs, err)
				}
			}
		}
	}
	if err := trash.Sweep(d.Path, SpoolName, StderrName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, fmt.Errorf("run directory: %w", err))
	}
	return errors.Join(errs...)
}

func (d *Dir) root() (*os.Root, error) { return openat.Dir(d.Path) }

// Remove takes what makes it a run first: a daemon that is killed in between leaves
// a directory that the next one takes for what was never started.
func (d *Dir) Remove() error {
	if err := d.removeStored(); err != nil {
		return err
	}
	return d.RemoveOwn()
}

// RemoveOwn removes the run's own directory, and nothing of what the store has.
func (d *Dir) RemoveOwn() error {
	if d.IsIndexed() && d.removeOutputs() {
		return nil
	}
	return trash.Discard(d.Path)
}

// removeOutputs removes the directory of a run that has left no more than its outputs, as
// nearly every one has: in five calls, not thirty. False is that something is there still.
func (d *Dir) removeOutputs() bool {
	fd, err := unix.Open(d.Path, unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	for _, name := range []string{SpoolName, StderrName} {
		_ = unix.Unlinkat(fd, name, 0)
	}
	unix.Close(fd)
	return unix.Rmdir(d.Path) == nil
}

func (d *Dir) removeStored() error {
	var errs []error
	for _, p := range d.stored {
		errs = append(errs, trash.Discard(p))
	}
	return errors.Join(errs...)
}

// RemoveOther removes what has the name of an output and isn't it.
func (d *Dir) RemoveOther(name string, ours *os.File) error {
	mine, err := ours.Stat()
	if err != nil {
		return err
	}
	if found, err := os.Lstat(d.File(name)); err != nil || os.SameFile(found, mine) {
		return nil // gone already, or what it should be
	}
	root, err := d.root()
	if err != nil {
		return err
	}
	defer root.Close()
	return trash.Below(root, name)
}
