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
	common := commonDir(name, cwd)
	if common == "" {
		return nil
	}
	if m := o.over(common); m != nil && m.isSame() {
		return nil
	}
	real, err := filepath.EvalSymlinks(common)
	if err != nil || i.InRoots == nil || !i.InRoots(real) {
		return nil // to git inside it is no repository
	}
	f, err := o.add(real, common, false, false)
	if err != nil {
		return err
	}
	if f.Name() != real || !i.InRoots(f.Name()) {
		return fmt.Errorf("%s: it was replaced while the run started", common)
	}
	return nil
}

// commonDir is the path that a worktree's own files lead to, "" where cwd is none. A run can
// have written .git: the repository must know of it, which another's can't be made to.
func commonDir(name string, cwd *os.File) string {
	own, ok := strings.CutPrefix(readLine(int(cwd.Fd()), ".git"), "gitdir: ")
	if !ok {
		return ""
	}
	own = absolute(own, name)
	if filepath.Base(filepath.Dir(own)) != "worktrees" {
		return ""
	}
	dir, err := unix.Open(own, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(dir)
	back := readLine(dir, "gitdir")
	if back == "" {
		return ""
	}
	var of, is unix.Stat_t
	if unix.Stat(filepath.Dir(absolute(back, own)), &of) != nil || unix.Fstat(int(cwd.Fd()), &is) != nil || of.Dev != is.Dev || of.Ino != is.Ino {
		return ""
	}
	common := readLine(dir, "commondir")
	if common == "" {
		return ""
	}
	if common = absolute(common, own); common != filepath.Dir(filepath.Dir(own)) {
		return ""
	}
	return common
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
