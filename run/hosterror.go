package run

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"

	"penstock/outcome"
	"penstock/run/store"
	"penstock/spawn"
)

const stateDirectory = "state directory"

// hostErrors are what a host runs out of, or breaks with, and what mends it: no
// fault of the request, and not the CLI's.
var hostErrors = []struct {
	is   error
	what string
	hint string
}{
	{unix.ENOSPC, stateDirectory, "make room on its file system"},
	{unix.EDQUOT, stateDirectory, "raise the daemon's quota"},
	{unix.EROFS, stateDirectory, "mount its file system read-write"},
	{unix.EIO, stateDirectory, "check its disk"},
	{store.ErrRemoved, stateDirectory, "restart penstock, and keep what cleans up, such as systemd-tmpfiles, out of it"},
	{unix.EMFILE, "the daemon's open files", "raise LimitNOFILE= of the unit"},
	{unix.ENFILE, "the host's open files", "raise fs.file-max"},
}

// hostError tells a start that failed for want of what the host should give.
// The paths are for the log only.
func hostError(err error, log *slog.Logger) error {
	var known *spawn.StartError
	if errors.As(err, &known) {
		return err
	}
	for _, t := range hostErrors {
		if errors.Is(err, t.is) {
			log.Error("run not started (hint: "+t.hint+")", "err", err)
			return &spawn.StartError{Cause: outcome.StartFailed, Err: fmt.Errorf("nothing was started: %s: %w (hint: %s)", t.what, t.is, t.hint)}
		}
	}
	return err
}

// lowSpace is the room below which the state directory may be why a CLI failed, or
// wrote less than it meant to, in bytes.
const lowSpace = 1 << 20

// fileSystem is the state directory's, which takes all that CLIs write, with its
// figures of when it was asked (statfs(2)).
type fileSystem struct {
	figures unix.Statfs_t
	known   bool
}

func fileSystemOf(dir string) (d fileSystem) {
	d.known = unix.Statfs(dir, &d.figures) == nil
	return d
}

// state says what is wrong with it; "" when nothing is. root may also use the blocks
// that are kept back for it.
func (d *fileSystem) state(root bool) string {
	if !d.known {
		return ""
	}
	if d.figures.Flags&unix.ST_RDONLY != 0 {
		return inStateDir(unix.EROFS)
	}
	if free := d.blocks(root) * uint64(d.figures.Bsize); free < lowSpace {
		return fmt.Sprintf("%s: %d KiB are free", inStateDir(unix.ENOSPC), free>>10)
	}
	if d.figures.Files > 0 && d.figures.Ffree == 0 {
		return inStateDir(unix.ENOSPC) + ": no file can be made"
	}
	return ""
}

func (d *fileSystem) blocks(root bool) uint64 {
	if root {
		return d.figures.Bfree
	}
	return d.figures.Bavail
}

// full is ENOSPC where not a block is left: what is made for a run is so little that a
// full file system may take it, and nothing of what the CLI has to say.
func (d *fileSystem) full(root bool) error {
	if d.known && d.figures.Blocks > 0 && d.blocks(root) == 0 {
		return unix.ENOSPC
	}
	return nil
}

// isExact tells a file system whose figures are no guesses, and that has room for
// whatever write(2) has taken: nothing is refused only when it is written back.
func (d *fileSystem) isExact() bool {
	switch d.figures.Type {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		return d.known
	}
	return false
}

func inStateDir(err error) string { return fmt.Sprintf("the daemon's state directory: %v", err) }

// refusesWrites says why the run's directory does not take what a write of its user
// would need, or "". A full disk is shown to a program that may not care, and to
// no other: this is the look at it that can be had from here.
func refusesWrites(d *store.Dir) string {
	at := fileSystemOf(filepath.Dir(d.Path))
	return at.refusesWrites(d)
}

func (d *fileSystem) refusesWrites(of *store.Dir) string {
	daemonIsRoot := os.Geteuid() == 0
	if why := d.state(of.User == nil && daemonIsRoot || of.User != nil && of.User.UID == 0); why != "" {
		return why
	}
	if of.User != nil && overQuota(of.Path, int(of.User.UID)) {
		return inStateDir(unix.EDQUOT)
	}
	if daemonIsRoot && d.isExact() {
		return "" // no quota binds the daemon: it would learn nothing from a try
	}
	return diskError(tryWrite(of.Path))
}

// diskError is what err says of the state directory's disk; "" where it is
// about something else.
func diskError(err error) string {
	for _, t := range hostErrors {
		if errors.Is(err, t.is) && t.what == stateDirectory {
			return inStateDir(t.is)
		}
	}
	return ""
}

// tryWrite tells what a file system's own figures don't: quotas of the daemon's
// user, and file systems whose figures are guesses.
func tryWrite(dir string) error {
	f, err := os.CreateTemp(dir, ".try-*")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 64<<10))
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}

// dqblk is struct if_dqblk of linux/quota.h.
type dqblk struct {
	HardLimit, SoftLimit uint64 // KiB; 0 is none
	Space                uint64 // bytes
	_                    [5]uint64
	_                    uint64
}

// overQuota asks for another user's disk quota, which binds the run and not the
// daemon. False where it can't be asked.
func overQuota(dir string, uid int) bool {
	const getUserQuota = 0x800007 << 8 // QCMD(Q_GETQUOTA, USRQUOTA), which is 0
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	var q dqblk
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, f.Fd(), getUserQuota, uintptr(uid), uintptr(unsafe.Pointer(&q)), 0, 0)
	return errno == 0 && q.HardLimit > 0 && q.Space+lowSpace > q.HardLimit<<10
}
