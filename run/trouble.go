package run

import (
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/sys/unix"

	"penstock/spawn"
)

// troubles are what a host runs out of, or breaks with, and what mends it: no
// fault of the request, and not the CLI's.
var troubles = []struct {
	errno unix.Errno
	what  string
	hint  string
}{
	{unix.ENOSPC, "state directory", "make room on its file system"},
	{unix.EDQUOT, "state directory", "raise the daemon's quota"},
	{unix.EROFS, "state directory", "mount its file system read-write"},
	{unix.EIO, "state directory", "check its disk"},
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
		if errors.Is(err, t.errno) {
			log.Error("run not started (hint: "+t.hint+")", "err", err)
			return &spawn.StartError{Cause: spawn.StartFailed, Err: fmt.Errorf("nothing was started: %s: %w (hint: %s)", t.what, t.errno, t.hint)}
		}
	}
	return err
}

// cramped is the room below which the state directory may be why a CLI failed, in bytes.
const cramped = 1 << 20

// troubled says what is wrong with the file system of the state directory, which
// takes all that CLIs write; "" when nothing is.
func troubled(dir string) string {
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) != nil {
		return ""
	}
	if fs.Flags&unix.ST_RDONLY != 0 {
		return fmt.Sprintf("the daemon's state directory: %v", unix.EROFS)
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < cramped {
		return fmt.Sprintf("the daemon's state directory: %v: %d KiB are free", unix.ENOSPC, free>>10)
	}
	return ""
}
