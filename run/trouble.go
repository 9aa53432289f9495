package run

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"

	"penstock/spawn"
)

const stateDirectory = "state directory"

// errRemoved is a state directory that was there when the daemon started.
var errRemoved = errors.New("removed while the daemon runs")

// troubles are what a host runs out of, or breaks with, and what mends it: no
// fault of the request, and not the CLI's.
var troubles = []struct {
	is   error
	what string
	hint string
}{
	{unix.ENOSPC, stateDirectory, "make room on its file system"},
	{unix.EDQUOT, stateDirectory, "raise the daemon's quota"},
	{unix.EROFS, stateDirectory, "mount its file system read-write"},
	{unix.EIO, stateDirectory, "check its disk"},
	{errRemoved, stateDirectory, "restart penstock, and keep what cleans up, such as systemd-tmpfiles, out of it"},
	{unix.EMFILE, "the daemon's open files", "raise LimitNOFILE= of the unit"},
	{unix.ENFILE, "the host's open files", "raise fs.file-max"},
}

// blameHost tells a start that failed for want of what the host should give.
// The paths are for the log only.
func blameHost(err error, log *slog.Logger) error {
	var known *spawn.StartError
	if errors.As(err, &known) {
		return err
	}
	for _, t := range troubles {
		if errors.Is(err, t.is) {
			log.Error("run not started (hint: "+t.hint+")", "err", err)
			return &spawn.StartError{Cause: spawn.StartFailed, Err: fmt.Errorf("nothing was started: %s: %w (hint: %s)", t.what, t.is, t.hint)}
		}
	}
	return err
}

// cramped is the room below which the state directory may be why a CLI failed, or
// wrote less than it meant to, in bytes.
const cramped = 1 << 20

// troubled says what is wrong with the file system of the state directory, which
// takes all that CLIs write; "" when nothing is. root may also use the blocks that
// are kept back for it.
func troubled(dir string, root bool) string {
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) != nil {
		return ""
	}
	if fs.Flags&unix.ST_RDONLY != 0 {
		return inStateDir(unix.EROFS)
	}
	blocks := fs.Bavail
	if root {
		blocks = fs.Bfree
	}
	if free := blocks * uint64(fs.Bsize); free < cramped {
		return fmt.Sprintf("%s: %d KiB are free", inStateDir(unix.ENOSPC), free>>10)
	}
	return ""
}

func inStateDir(err error) string { return fmt.Sprintf("the daemon's state directory: %v", err) }

// refusesWrites says why the run's directory does not take what a write of its user
// would need, or "". A full disk is told to a program that may not care, and to
// no one else: this is the look at it that can be had from here.
func (d *directory) refusesWrites() string {
	root := d.user == nil && os.Geteuid() == 0 || d.user != nil && d.user.UID == 0
	if why := troubled(filepath.Dir(d.path), root); why != "" {
		return why
	}
	if d.user != nil && overQuota(d.path, int(d.user.UID)) {
		return inStateDir(unix.EDQUOT)
	}
	return diskTrouble(tryWrite(d.path))
}

// diskTrouble is what err says of the state directory's disk; "" where it is
// about something else.
func diskTrouble(err error) string {
	for _, t := range troubles {
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
	const getUserQuota = 0x800007<<8 | 0 // QCMD(Q_GETQUOTA, USRQUOTA)
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	var q dqblk
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, f.Fd(), getUserQuota, uintptr(uid), uintptr(unsafe.Pointer(&q)), 0, 0)
	return errno == 0 && q.HardLimit > 0 && q.Space+cramped > q.HardLimit<<10
}

// cutShort says why what the run wrote may not be all that it meant to write; ""
// where nothing speaks for that. The outputs' group is empty.
func (w *watcher) cutShort() string {
	if why := w.lost.Load(); why != nil {
		return *why
	}
	if limit, ok := fileSizeLimit(); ok && w.outputs != nil {
		if spool, stderr, err := w.outputs.sizes(); err == nil && uint64(max(spool, stderr)) >= limit {
			return fmt.Sprintf("its output reached the limit on the size of files that the daemon was started with (ulimit -f, LimitFSIZE=): %d bytes", limit)
		}
	}
	// A last word in the output that a full disk still took came after all else.
	full := w.run.shortage.Load()
	if full != nil && (w.spec.Backend.Features().PlainExit || w.wordAfterFull) {
		return *full
	}
	return ""
}

// fileSizeLimit is what runs inherit of RLIMIT_FSIZE; not ok is none.
func fileSizeLimit() (n uint64, ok bool) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &l); err != nil || l.Cur == unix.RLIM_INFINITY {
		return 0, false
	}
	return l.Cur, true
}
