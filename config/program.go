package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"penstock/internal/hint"
)

// resolve finds the program of a backend. One that isn't there is no error of
// the configuration: it may be installed later, and the others still work.
func (l *loader) resolve(be *Backend, prefix string) {
	key := prefix + "command"
	command := slices.Clone(be.Command)
	switch {
	case be.Kind == "demo":
		if len(command) > 0 {
			l.fail(key, "leave it out", "demo is the daemon's own program")
		}
		command = Argv{l.host.Executable, "demo"}
		if l.host.Executable == "" {
			be.Missing = "not found: the daemon's own program"
		}
		be.Command = command
		return
	case len(command) == 0 && l.isExplicit(key):
		l.fail(key, "", "is empty")
	case len(command) == 0:
		if program, known := programs()[be.Kind]; known {
			command = Argv{program}
		} else if be.Kind != "" && !l.bad[key] {
			l.problem(l.backends[be.Name], "backends."+be.Name, hint.Errorf(`write command = ["program", "argument"]`, "has no command"))
		}
	}
	be.Command = command
	if len(command) == 0 {
		return
	}
	if be.Image != "" {
		if err := checkInnerProgram(command[0]); err != nil {
			l.problem(l.origins[key], key, err)
		}
		return // it is the image's, which has its own PATH
	}
	if strings.HasPrefix(command[0], "~") {
		full, f := l.expand(command[0])
		if f != nil {
			l.fail(key, f.Hint, "%s", f.Message())
			return
		}
		command[0] = full
	}
	program, err := lookPath(command[0], l.env["PATH"])
	if err != nil {
		be.Missing = err.Error()
		return
	}
	command[0] = program
}

// lookPath finds a program as a shell would, but never in a relative
// directory, and says what is wrong with the one it found.
func lookPath(program, path string) (string, error) {
	if program == "" {
		return "", errors.New("the program's name is empty")
	}
	if strings.Contains(program, "/") {
		if !filepath.IsAbs(program) {
			return "", fmt.Errorf("%s: not absolute", program)
		}
		return program, executable(program)
	}
	var first error
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		full := filepath.Join(dir, program)
		err := executable(full)
		if err == nil {
			return full, nil
		}
		if first == nil && !errors.Is(err, fs.ErrNotExist) {
			first = err
		}
	}
	if first != nil {
		return "", first
	}
	if strings.ContainsAny(program, " \t") {
		return "", hint.Errorf(`write a list: ["`+strings.Join(strings.Fields(program), `", "`)+`"]`, "not found: %s", program)
	}
	if path == "" {
		return "", fmt.Errorf("not found: %s (PATH is not set)", program)
	}
	return "", fmt.Errorf("not found: %s", program)
}

// checkInnerProgram judges the name of a program in an image.
func checkInnerProgram(program string) error {
	switch {
	case program == "":
		return errors.New("the program's name is empty")
	case strings.Contains(program, "/") && (!filepath.IsAbs(program) || filepath.Clean(program) != program):
		return hint.Errorf("write its path inside the image, or a name on the image's PATH", "%s: not an absolute path", program)
	case strings.HasPrefix(program, "~"):
		return hint.Errorf("write its path inside the image", "%s: there is no ~ in an image", program)
	}
	return nil
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("not found: %s%w", path, unprinted{fs.ErrNotExist})
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: uid %d may not enter %s: %w", path, os.Geteuid(), closedDir(path), cause(err))
	case err != nil:
		return fmt.Errorf("%s: %w", path, cause(err))
	case info.IsDir():
		return fmt.Errorf("%s is a directory", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	case info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("%s is not executable", path)
	}
	return nil
}

// closedDir is the topmost directory on the way to path that can't be searched.
func closedDir(path string) string {
	dir := filepath.Dir(path)
	for {
		above := filepath.Dir(dir)
		if _, err := os.Stat(dir); err == nil || above == dir {
			return dir
		}
		dir = above
	}
}

// unprinted keeps an error for errors.Is, out of the text.
type unprinted struct{ error }

func (unprinted) Error() string   { return "" }
func (h unprinted) Unwrap() error { return h.error }
