package bundle

import (
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"penstock/internal/hint"
)

// ErrLink is told of a link that runs could have put there.
var ErrLink = errors.New("is a link, in a directory that runs could write")

// OpenSource opens what a run is to have mounted, with the rights of the run's user: nil is
// the daemon's own. Links are followed down to the first directory that the run could write:
// below that it could have put one in place of what was meant.
func OpenSource(name string, as *syscall.Credential) (*os.File, error) {
	if !path.IsAbs(name) {
		return nil, fmt.Errorf("mount %q: not an absolute path", name)
	}
	if as == nil {
		return walker{uid: uint32(os.Geteuid()), gids: ownGroups()}.open(name)
	}
	type result struct {
		f   *os.File
		err error
	}
	answer := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with what it became
		var r result
		if r.err = becomeForFiles(as); r.err == nil {
			r.f, r.err = walker{uid: as.Uid, gids: append([]uint32{as.Gid}, as.Groups...)}.open(name)
		}
		answer <- r
	}()
	r := <-answer
	return r.f, r.err
}

func ownGroups() []uint32 {
	gids := []uint32{uint32(os.Getegid())}
	more, err := os.Getgroups()
	if err != nil {
		return gids
	}
	for _, g := range more {
		gids = append(gids, uint32(g))
	}
	return gids
}

// becomeForFiles gives the calling thread another's rights to files. The capabilities that
// pass by them go with the id (capabilities(7), file system user id).
func becomeForFiles(as *syscall.Credential) error {
	var groups unsafe.Pointer
	if len(as.Groups) > 0 {
		groups = unsafe.Pointer(&as.Groups[0])
	}
	// Not syscall.Setgroups: that is of all threads.
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(as.Groups)), uintptr(groups), 0); errno != 0 {
		return os.NewSyscallError("setgroups", errno)
	}
	if _, err := unix.SetfsgidRetGid(int(as.Gid)); err != nil {
		return os.NewSyscallError("setfsgid", err)
	}
	if _, err := unix.SetfsuidRetUid(int(as.Uid)); err != nil {
		return os.NewSyscallError("setfsuid", err)
	}
	// Neither says that it was refused: what it is now, an impossible id tells.
	if uid, err := unix.SetfsuidRetUid(-1); err != nil || uid != int(as.Uid) {
		return hint.Errorf("a daemon that runs backends as other users needs CAP_SETUID", "become user %d to open files: it is still %d", as.Uid, uid)
	}
	return nil
}

// walker goes a path with the rights of the thread it is on.
type walker struct {
	uid  uint32
	gids []uint32
}

// step is a directory on the way.
type step struct {
	fd   int
	path string
	ours bool // the run can write it, or one above
}

func (w walker) open(name string) (*os.File, error) {
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/", Err: err}
	}
	way := []step{{fd: root, path: "/"}}
	if way[0].ours, err = w.canWrite(root, false); err != nil {
		return nil, err
	}
	defer func() {
		for _, s := range way {
			_ = unix.Close(s.fd)
		}
	}()
	todo, links := strings.Split(name, "/"), 0
	for len(todo) > 0 {
		part, at := todo[0], way[len(way)-1]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(way) > 1 {
				_ = unix.Close(at.fd)
				way = way[:len(way)-1]
			}
			continue
		}
		next := step{path: path.Join(at.path, part)}
		next.fd, err = unix.Openat(at.fd, part, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: next.path, Err: err}
		}
		way = append(way, next)
		var stat unix.Stat_t
		if err := unix.Fstat(next.fd, &stat); err != nil {
			return nil, &os.PathError{Op: "stat", Path: next.path, Err: err}
		}
		if kindOf(stat.Mode) != isLink {
			if way[len(way)-1].ours, err = w.canWrite(next.fd, at.ours); err != nil {
				return nil, err
			}
			continue
		}
		if at.ours {
			return nil, hint.Errorf("write the path that it leads to", "mount %s: %s %w", name, next.path, ErrLink)
		}
		if links++; links > linksMost {
			return nil, &os.PathError{Op: "open", Path: name, Err: unix.ELOOP}
		}
		target, err := readLink(next.fd, "")
		if err != nil {
			return nil, err
		}
		_ = unix.Close(next.fd)
		way = way[:len(way)-1]
		if path.IsAbs(target) {
			for _, s := range way[1:] {
				_ = unix.Close(s.fd)
			}
			way = way[:1]
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	last := way[len(way)-1]
	way = way[:len(way)-1]
	return os.NewFile(uintptr(last.fd), last.path), nil
}

// canWrite tells whether the run's user could put something into a directory, by its mode or
// an access control list; or could give itself the right to.
func (w walker) canWrite(fd int, above bool) (bool, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return false, os.NewSyscallError("fstat", err)
	}
	if above || stat.Uid == w.uid || stat.Mode&0o002 != 0 || stat.Mode&0o020 != 0 && slices.Contains(w.gids, stat.Gid) {
		return true, nil
	}
	return unix.Faccessat(fd, "", unix.W_OK, unix.AT_EMPTY_PATH|unix.AT_EACCESS) == nil, nil
}
