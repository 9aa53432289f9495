package spawn

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// guard keeps children from writing to Options.Protect. All is final once the
// launcher thread is prepared.
type guard struct {
	paths  []string
	log    *slog.Logger
	wall   string // Isolation.Store
	open   error  // and StoreOpen
	mounts bool   // it covers in a mount namespace of the launcher's
}

// NoWall is Isolation.Store where nothing keeps children out.
const NoWall = "none"

// Protectable says why runs of a daemon that can't mount can't be kept from
// writing to what lies in dir; nil where they can. A Landlock domain grants
// rights below directories and takes none away: the entries of all directories
// above dir are granted one by one, so that runs make no new ones in these. That
// must take nothing from them that they had.
func Protectable(dir string) error {
	if abi := landlockABI(); abi < 2 {
		return fmt.Errorf("landlock: ABI %d: 2 or newer is needed (Linux 5.19)", abi)
	}
	if home, err := filepath.EvalSymlinks(os.Getenv("HOME")); err == nil && home == dir {
		return fmt.Errorf("landlock: %s: it is the agents' HOME, and they could make nothing new in it", dir)
	}
	for at := filepath.Dir(dir); at != "/"; at = filepath.Dir(at) { // in / they make none in any case: the cgroup mounts lie there
		if unix.Faccessat(unix.AT_FDCWD, at, unix.W_OK, unix.AT_EACCESS) == nil {
			return fmt.Errorf("landlock: %s: runs of our own user work there, and could make nothing new in it", at)
		}
	}
	return nil
}

// CanMount tells whether this process may make a mount namespace: CAP_SYS_ADMIN, as
// the launcher needs it.
func CanMount() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

// fits tells whether all paths can be protected by Landlock.
func (g *guard) fits() error {
	for _, path := range g.paths {
		if err := Protectable(filepath.Dir(path)); err != nil {
			return err
		}
	}
	return nil
}

// cover hides the paths in the launcher's mount namespace, wherever the file
// system shows them.
func (g *guard) cover() error {
	g.mounts = true
	var errs []error
	for _, path := range g.paths {
		mounts, err := threadMounts()
		if err != nil {
			return err
		}
		table := newMountTable(mounts)
		for _, shown := range append([]string{path}, aliases(unix.AT_FDCWD, path, table)...) {
			errs = append(errs, coverPath(shown, table))
		}
	}
	return errors.Join(errs...)
}

// again covers what the host has mounted since. A path may lead through a file
// system that doesn't answer: only the mounts are the launcher thread's.
func (g *guard) again(h *hider) {
	if !g.mounts {
		return
	}
	var errs []error
	for _, path := range g.paths {
		table := h.mountTable()
		for _, shown := range append([]string{path}, h.aliases(path, table)...) {
			t, err := openTarget(h.root, shown)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if !t.isHidden(table) {
				h.onThread(func() { errs = append(errs, t.hide()) })
				h.stale.Store(true)
			}
			t.close()
		}
	}
	if err := errors.Join(errs...); err != nil {
		g.log.Error("runs could write to the daemon's own records", "err", err)
	}
}

// probe is a file that no child may be able to make; "" is that nothing is to be
// protected.
func (g *guard) probe() string {
	for _, path := range g.paths {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return filepath.Join(path, fmt.Sprintf(".probe-%d", os.Getpid()))
		}
	}
	return ""
}

// judge says what the wall is: built is why it could not be built, open what a
// child has shown.
func (g *guard) judge(wall string, built, open error) {
	g.wall, g.open = wall, built
	if built == nil {
		g.open = open
	}
	if len(g.paths) == 0 {
		g.open = errors.New("nothing is to be protected")
	}
	if g.open != nil {
		g.wall = NoWall
	}
}
