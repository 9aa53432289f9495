package image

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// librariesMost is how many libraries of one program are looked at.
const librariesMost = 500

// checkLinked looks for what a program is linked to, as ld.so(8) would: its loader, and
// all libraries that it and they need.
func (r Root) checkLinked(program string) error {
	l := linker{root: r, seen: map[string]bool{}}
	return l.need(program, nil)
}

// linker goes through what a program needs.
type linker struct {
	root Root
	dirs []string // of /etc/ld.so.conf and the default ones
	seen map[string]bool
	musl bool // the loader is musl's
}

// need looks at one file, and at the libraries of which it was not seen yet.
func (l *linker) need(file string, above []string) error {
	f, err := l.root.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	e, err := elf.NewFile(f)
	if err != nil {
		return fmt.Errorf("%s: neither a script nor an ELF program: %w", file, err)
	}
	if want := machine(); want != elf.EM_NONE && e.Machine != want {
		return fmt.Errorf("%s: it is for %s, and this host is %s", file, e.Machine, want)
	}
	if loader := interpreterOf(e); loader != "" {
		if err := l.root.executable(loader); err != nil {
			return fmt.Errorf("%s: its loader: %w", file, err)
		}
		l.musl = strings.HasPrefix(path.Base(loader), "ld-musl-")
	}
	wanted, err := e.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	own := append(runPaths(e, file), above...)
	for _, name := range wanted {
		if l.seen[name] || l.musl && isMusl(name) {
			continue
		}
		l.seen[name] = true
		if len(l.seen) > librariesMost {
			return fmt.Errorf("%s: more than %d libraries", file, librariesMost)
		}
		at, err := l.find(name, own)
		if err != nil {
			return fmt.Errorf("%s needs %s: %w", file, name, err)
		}
		if err := l.need(at, own); err != nil {
			return err
		}
	}
	return nil
}

// isMusl tells whether a library is musl's loader itself, by whatever version of its name.
func isMusl(library string) bool {
	name, _, _ := strings.Cut(library, ".")
	switch name {
	case "libc", "libpthread", "librt", "libm", "libdl", "libutil", "libxnet":
		return true
	}
	return false
}

func (l *linker) find(name string, dirs []string) (string, error) {
	if strings.Contains(name, "/") {
		_, err := l.root.Stat(name)
		return name, err
	}
	if l.dirs == nil {
		l.dirs = l.defaultDirs()
	}
	for _, dir := range append(append([]string{}, dirs...), l.dirs...) {
		at := path.Join(dir, name)
		if info, err := l.root.Stat(at); err == nil && info.Mode().IsRegular() {
			return at, nil
		}
	}
	return "", errors.New("not in the image")
}

// defaultDirs are glibc's with those of /etc/ld.so.conf, and musl's.
func (l *linker) defaultDirs() []string {
	dirs := l.configured("/etc/ld.so.conf", 0)
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu", "arm": "arm-linux-gnueabihf"}[runtime.GOARCH]
	if triplet != "" {
		dirs = append(dirs, "/lib/"+triplet, "/usr/lib/"+triplet)
	}
	return append(dirs, "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")
}

// configured reads a file of ld.so.conf's form, with the files it includes.
func (l *linker) configured(file string, depth int) []string {
	f, err := l.root.Open(file)
	if err != nil || depth > 4 {
		return nil
	}
	defer f.Close()
	var dirs []string
	lines := bufio.NewScanner(io.LimitReader(f, recordMost))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 2 && words[0] == "include":
			for _, name := range l.glob(words[1], path.Dir(file)) {
				dirs = append(dirs, l.configured(name, depth+1)...)
			}
		case len(words) == 1 && path.IsAbs(words[0]):
			dirs = append(dirs, words[0])
		}
	}
	return dirs
}

// glob takes a pattern in the last part of a path, as ld.so.conf has it.
func (l *linker) glob(pattern, dir string) []string {
	if !path.IsAbs(pattern) {
		pattern = path.Join(dir, pattern)
	}
	f, err := l.root.Open(path.Dir(pattern))
	if err != nil {
		return nil
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil
	}
	var found []string
	for _, e := range entries {
		if ok, err := filepath.Match(path.Base(pattern), e.Name()); ok && err == nil && e.Type()&fs.ModeDir == 0 {
			found = append(found, path.Join(path.Dir(pattern), e.Name()))
		}
	}
	return found
}

func interpreterOf(e *elf.File) string {
	for _, p := range e.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > 4096 {
			continue
		}
		if text, err := io.ReadAll(p.Open()); err == nil {
			return strings.TrimRight(string(text), "\x00")
		}
	}
	return ""
}

// runPaths are the directories that a file names itself.
func runPaths(e *elf.File, file string) []string {
	var dirs []string
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		lists, err := e.DynString(tag)
		if err != nil {
			continue
		}
		for _, list := range lists {
			for _, dir := range strings.Split(list, ":") {
				dir = strings.NewReplacer("$ORIGIN", path.Dir(file), "${ORIGIN}", path.Dir(file)).Replace(dir)
				if path.IsAbs(dir) {
					dirs = append(dirs, dir)
				}
			}
		}
	}
	return dirs
}

// machine is this architecture's in ELF; EM_NONE is not known.
func machine() elf.Machine {
	switch runtime.GOARCH {
	case "amd64":
		return elf.EM_X86_64
	case "arm64":
		return elf.EM_AARCH64
	}
	return elf.EM_NONE
}
