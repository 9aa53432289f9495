package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"penstock/cgroup/cgroupfs"
	"penstock/image"
)

// Person is the run's user as programs find it.
type Person struct {
	Name     string // "" is agent
	UID, GID uint32
	Home     string // inside: ssh asks for that and not for HOME
}

// suppliedMost is how long a file may be of which a run gets another form.
const suppliedMost = 1 << 20

// Supplied are the files that a run has in place of the image's, by their paths: the host's
// resolver, its hosts with the run's own name, and the run's user beside those of the image.
func Supplied(rootfs, hostname string, who Person, network bool) (map[string][]byte, error) {
	if who.Name == "" {
		who.Name = "agent"
	}
	files := map[string][]byte{}
	for _, name := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		text := []byte("127.0.0.1 localhost\n::1 localhost\n")
		if name == "/etc/resolv.conf" {
			text = []byte{}
		}
		if network {
			read, err := read(os.Open(name))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			if err == nil {
				text = read
			}
		}
		files[name] = text
	}
	files["/etc/hosts"] = withHost(files["/etc/hosts"], hostname)
	at := image.At(rootfs)
	uid, gid := strconv.FormatUint(uint64(who.UID), 10), strconv.FormatUint(uint64(who.GID), 10)
	for name, line := range map[string][]string{
		"/etc/passwd": {who.Name, "x", uid, gid, "", who.Home, "/bin/sh"},
		"/etc/group":  {who.Name, "x", gid, ""},
	} {
		for _, field := range line {
			if strings.ContainsAny(field, ":\n") {
				return nil, fmt.Errorf("%s: %q can't be in it", name, field)
			}
		}
		text, err := read(at.Open(name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		files[name] = withLine(text, line)
	}
	return files, nil
}

// Check says why no run could have an image, whatever else it has: before there is one.
func Check(rootfs, name, home string) error {
	files := map[string][]byte{}
	for _, file := range image.Supplied() {
		files[file] = nil
	}
	b, err := New(Options{Image: rootfs, Name: name, Home: home, Files: files, Writable: 1})
	if err != nil {
		return err
	}
	return b.Close()
}

func read(f *os.File, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, suppliedMost+1))
	if err == nil && len(text) > suppliedMost {
		err = fmt.Errorf("%s: longer than %d bytes", f.Name(), suppliedMost)
	}
	return text, err
}

// withHost adds a line for the run's own host name, which is neither the host's nor known to a
// name server: programs look it up (Java's getLocalHost, sudo).
func withHost(text []byte, name string) []byte {
	if name == "" {
		return text
	}
	for l := range strings.Lines(string(text)) {
		l, _, _ = strings.Cut(l, "#")
		if fields := strings.Fields(l); len(fields) > 0 && slices.Contains(fields[1:], name) {
			return text
		}
	}
	if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
		text = append(text, '\n')
	}
	return append(text, "127.0.0.1 "+name+"\n"...)
}

// withLine puts a line first, for the first of an id is what is found, and takes away
// others of the same name. One of the image with the same id keeps its name.
func withLine(text []byte, line []string) []byte {
	var rest strings.Builder
	const id = 2
	for l := range strings.Lines(string(text)) {
		field := strings.Split(strings.TrimSuffix(l, "\n"), ":")
		if len(field) > id && field[id] == line[id] {
			line[0] = field[0]
		}
	}
	for l := range strings.Lines(string(text)) {
		if name, _, _ := strings.Cut(l, ":"); name != line[0] {
			rest.WriteString(strings.TrimSuffix(l, "\n") + "\n")
		}
	}
	return []byte(strings.Join(line, ":") + "\n" + rest.String())
}

// limitPoints are where a run is told what memory it may have: one text, by several names, for a link
// costs less than a file. What an image has in its /sys is left as it is.
func (p *planner) limitPoints() ([]*point, error) {
	if p.Memory <= 0 {
		return nil, nil
	}
	switch what, _, err := p.lookAt("/", "sys"); {
	case err != nil:
		return nil, err
	case what == isDir:
		dir, err := p.open("/sys")
		if err != nil {
			return nil, err
		}
		if entries, err := list(int(dir.Fd()), "/sys", 1); err != nil || len(entries) > 0 {
			return nil, err
		}
	case what != isAbsent:
		return nil, nil
	}
	all := []*point{{path: cgroupfs.MemoryFile, text: []byte(strconv.FormatInt(p.Memory, 10) + "\n")}}
	for _, l := range cgroupfs.MemoryLinks() {
		all = append(all, &point{path: l.Path, link: l.To})
	}
	return all, nil
}
