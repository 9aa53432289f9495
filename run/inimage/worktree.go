package inimage

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// gitFileMost is how long a file may be that is to hold one path.
const gitFileMost = 8 << 10

// worktree mounts the common directory of the repository that cwd is a worktree of
// (gitrepository-layout(5)), if clients may work there.
func (i *Image) worktree(o *opener, name string, cwd *os.File) error {
	if r := repositoryOf(name, cwd); r != nil {
		return i.mountCommon(o, r)
	}
	return nil
}

// repository is one that knows of a worktree.
type repository struct {
	common string // its common directory, as the worktree's files name it
	name   string // what it calls the worktree
	known  unix.Stat_t
}

// mountCommon mounts what is at the path of the common directory, if the repository that was looked
// at is in it: runs that write above can have put a link to another directory there meanwhile.
func (i *Image) mountCommon(o *opener, r *repository) error {
	if m := o.over(r.common); m != nil && m.isSame() {
		return nil
	}
	real, err := filepath.EvalSymlinks(r.common)
	if err != nil || i.InRoots == nil || !i.InRoots(real) {
		return nil // to git inside it is no repository
	}
	f, err := o.add(real, r.common, false, false)
	if err != nil {
		return err
	}
	if f.Name() != real || !r.isIn(f) {
		return fmt.Errorf("%s: it was replaced while the run started", r.common)
	}
	return nil
}

const worktreesName = "worktrees"

// isIn tells whether a directory that is open holds what the repository knows of its worktree.
func (r *repository) isIn(common *os.File) bool {
	const how = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	all, err := unix.Openat(int(common.Fd()), worktreesName, how, 0)
	if err != nil {
		return false
	}
	defer unix.Close(all)
	var is unix.Stat_t
	err = unix.Fstatat(all, r.name, &is, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && is.Dev == r.known.Dev && is.Ino == r.known.Ino
}

// repositoryOf is what a worktree's own files lead to, nil where cwd is none. A run can have
// written .git: the repository must know of it, which another's can't be made to.
func repositoryOf(name string, cwd *os.File) *repository {
	own, ok := strings.CutPrefix(readLine(int(cwd.Fd()), ".git"), "gitdir: ")
	if !ok {
		return nil
	}
	own = absolute(own, name)
	if filepath.Base(filepath.Dir(own)) != worktreesName {
		return nil
	}
	dir, err := unix.Open(own, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(dir)
	r := &repository{name: filepath.Base(own)}
	back := readLine(dir, "gitdir")
	if back == "" || unix.Fstat(dir, &r.known) != nil {
		return nil
	}
	var of, is unix.Stat_t
	if unix.Stat(filepath.Dir(absolute(back, own)), &of) != nil || unix.Fstat(int(cwd.Fd()), &is) != nil || of.Dev != is.Dev || of.Ino != is.Ino {
		return nil
	}
	common := readLine(dir, "commondir")
	if common == "" {
		return nil
	}
	if r.common = absolute(common, own); r.common != filepath.Dir(filepath.Dir(own)) {
		return nil
	}
	return r
}

func absolute(name, dir string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(dir, name)
}

// readLine is the content of a small regular file in a directory, "" of any other.
func readLine(dir int, name string) string {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > gitFileMost {
		return ""
	}
	text, err := io.ReadAll(io.LimitReader(f, gitFileMost))
	if err != nil || strings.ContainsRune(string(text), 0) {
		return ""
	}
	line, rest, _ := strings.Cut(string(text), "\n")
	if rest != "" {
		return ""
	}
	return line
}
