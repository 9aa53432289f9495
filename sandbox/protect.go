package sandbox

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// protection keeps children from writing to what the daemon believes later. All is
// final once the launcher thread is prepared.
type protection struct {
	paths     []string
	log       *slog.Logger
	store     string // State.Store
	storeOpen error  // State.StoreOpen
	mounts    bool   // it masks in a mount namespace of the launcher's
}

// Unprotected is State.Store where nothing keeps children out.
const Unprotected = "none"

// Protectable says why runs of a daemon that can't mount can't be kept from
// writing to what lies in dir; nil where they can. A Landlock domain grants
// rights below directories and takes none away: the entries of all directories
// above dir are granted one by one, so that runs make no new ones in these. That
// must take nothing from them that they had.
func Protectable(dir string) error {
	if abi := LandlockABI(); abi < 2 {
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
func CanMount() bool { return hasCap(unix.CAP_SYS_ADMIN) }

// CanTrace tells whether it may look into processes that it has not made in a user
// namespace of its own: CAP_SYS_PTRACE.
func CanTrace() bool { return hasCap(unix.CAP_SYS_PTRACE) }

func hasCap(c int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<c) != 0
}

// landlockFits tells whether all paths can be protected by Landlock.
func (p *protection) landlockFits() error {
	for _, path := range p.paths {
		if err := Protectable(filepath.Dir(path)); err != nil {
			return err
		}
	}
	return nil
}

// mask masks the paths in the launcher's mount namespace, wherever the file
// system shows them.
func (p *protection) mask() error {
	p.mounts = true
	var errs []error
	for _, path := range p.paths {
		mounts, err := threadMounts()
		if err != nil {
			return err
		}
		table := newMountTable(mounts)
		for _, shown := range append([]string{path}, aliases(unix.AT_FDCWD, path, table)...) {
			errs = append(errs, maskPath(shown, table))
		}
	}
	return errors.Join(errs...)
}

// maskAgain masks what the host has mounted since. A path may lead through a file
// system that doesn't answer: only the mounts are the launcher thread's.
func (p *protection) maskAgain(m *pathMasker) {
	if !p.mounts {
		return
	}
	var errs []error
	for _, path := range p.paths {
		table := m.mountTable()
		found, failed := m.openTargets(path, table)
		errs = slices.AppendSeq(errs, maps.Values(failed))
		for _, t := range found {
			if !t.isMasked(table) {
				m.onThread(func() { errs = append(errs, t.mask()) })
				m.stale.Store(true)
			}
			t.close()
		}
	}
	if err := errors.Join(errs...); err != nil {
		p.log.Error("runs could write to the daemon's own records", "err", err)
	}
}

// probeFile is a file that no child may be able to make; "" is that nothing is to be
// protected.
func (p *protection) probeFile() string {
	for _, path := range p.paths {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return filepath.Join(path, fmt.Sprintf(".probe-%d", os.Getpid()))
		}
	}
	return ""
}

// conclude says what keeps children out: built is why that could not be set up, open what a
// child has shown.
func (p *protection) conclude(mechanism string, built, open error) {
	p.store, p.storeOpen = mechanism, built
	if built == nil {
		p.storeOpen = open
	}
	if len(p.paths) == 0 {
		p.storeOpen = errors.New("nothing is to be protected")
	}
	if p.storeOpen != nil {
		p.store = Unprotected
	}
}
