package image

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/internal/hint"
)

// Finding is one thing that was looked at; a nil Err is well.
type Finding struct {
	Name   string // a program, or "home"
	Detail string
	Err    error
}

// Check looks whether a root file system has what runs of some programs need: each
// program with what interprets it and the libraries it is linked to, and a home that can
// be one.
func (r Root) Check(env []string, home string, programs []string) []Finding {
	var found []Finding
	path := PathOf(env)
	for _, program := range programs {
		f := Finding{Name: program}
		f.Detail, f.Err = r.checkProgram(program, path)
		found = append(found, f)
	}
	return append(found, r.checkHome(home))
}

// checkHome: a home that the image lacks is made for each run, and what an image has in its
// home no run sees.
func (r Root) checkHome(home string) Finding {
	f := Finding{Name: "home", Detail: home}
	info, err := r.Stat(home)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Detail += ": not in the image, made for each run"
	case err != nil:
		f.Err = err
	case !info.IsDir():
		f.Err = hint.Errorf("choose another home", "%s: not a directory", home)
	case r.hasFiles(home):
		f.Detail += ": runs have another one there, and don't see what the image has in it"
	}
	return f
}

// hasFiles tells of a directory whether anything is in it.
func (r Root) hasFiles(dir string) bool {
	f, err := r.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	names, _ := f.Readdirnames(1)
	return len(names) > 0
}

// checkProgram tells where a program is.
func (r Root) checkProgram(program, path string) (string, error) {
	at, err := r.LookPath(program, path)
	if err != nil {
		return "", err
	}
	detail := at
	if err := r.checkMount(at); err != nil {
		return detail, err
	}
	for range 5 { // an interpreter can be a script, too
		words, err := r.interpreter(at)
		if err != nil {
			return detail, err
		}
		if words == nil {
			return detail, r.checkLinked(at)
		}
		next := words[0]
		if err := r.executable(next); err != nil {
			return detail, fmt.Errorf("%s is a script for %s: %w", at, next, err)
		}
		if strings.HasSuffix(next, "/env") && len(words) > 1 {
			if err := r.checkLinked(next); err != nil {
				return detail, err
			}
			wanted := words[1:]
			for len(wanted) > 1 && (strings.HasPrefix(wanted[0], "-") || strings.Contains(wanted[0], "=")) {
				wanted = wanted[1:]
			}
			if next, err = r.LookPath(wanted[0], path); err != nil {
				return detail, fmt.Errorf("%s is a script for %s: %w", at, wanted[0], err)
			}
		}
		detail += ", by " + next
		at = next
	}
	return detail, fmt.Errorf("%s: interpreters of interpreters, more than 5", program)
}

// checkMount looks whether the file system that a program lies on lets it be executed.
func (r Root) checkMount(program string) error {
	f, err := r.Open(program)
	if err != nil {
		return err
	}
	defer f.Close()
	var on unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &on); err != nil {
		return os.NewSyscallError("fstatfs", err)
	}
	if on.Flags&unix.ST_NOEXEC != 0 {
		return hint.Errorf("mount it without noexec, or have the image elsewhere", "%s: the file system that the image lies on is mounted noexec", program)
	}
	return nil
}

// interpreter are the words behind "#!"; nil of what is no script.
func (r Root) interpreter(path string) ([]string, error) {
	f, err := r.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head, err := bufio.NewReaderSize(io.LimitReader(f, 256), 256).Peek(256)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, within(path, err)
	}
	line, isScript := bytes.CutPrefix(head, []byte("#!"))
	if !isScript {
		return nil, nil
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	words := strings.Fields(string(line))
	switch {
	case bytes.HasSuffix(line, []byte("\r")): // to the kernel it is part of a name
		return nil, hint.Errorf("make its ends of lines Unix's", "%s: its first line ends with a carriage return", path)
	case len(words) == 0:
		return nil, fmt.Errorf("%s: a script that doesn't say for what", path)
	}
	return words, nil
}
