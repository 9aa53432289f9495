package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mount is one cgroup2 mount of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	root     string // group that is mounted, seen from our cgroup namespace
	point    string
	readOnly bool
}

var mountEscapes = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// parseMounts picks the cgroup2 lines, in mount order.
func parseMounts(r io.Reader) ([]mount, error) {
	var found []mount
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		left, right, ok := strings.Cut(sc.Text(), " - ")
		f := strings.Fields(left)
		if !ok || len(f) < 6 {
			return nil, fmt.Errorf("line %q: want 6 fields and a hyphen", sc.Text())
		}
		if kind, rest, _ := strings.Cut(right, " "); kind == "cgroup2" {
			_, super, _ := strings.Cut(rest, " ")
			found = append(found, mount{
				root:     mountEscapes.Replace(f[3]),
				point:    mountEscapes.Replace(f[4]),
				readOnly: hasOption(f[5], "ro") || hasOption(super, "ro"),
			})
		}
	}
	return found, sc.Err()
}

func hasOption(list, want string) bool {
	return slices.Contains(strings.Split(list, ","), want)
}

// parseSelf picks our v2 group from /proc/self/cgroup: the "0::" line.
func parseSelf(r io.Reader) (string, error) {
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		if path, ok := strings.CutPrefix(sc.Text(), "0::"); ok {
			return path, nil
		}
	}
	if err := sc.Err(); err != nil {
		return "", err
	}
	return "", errors.New("no \"0::\" line: the kernel has no cgroup v2")
}

// place is where this process stands in the v2 tree.
type place struct {
	mount mount
	own   string // directory of our own group
}

// findPlace reads where we are; it is read anew for each Open because we move.
func findPlace() (place, error) {
	mounts, err := parseFile("/proc/self/mountinfo", parseMounts)
	if err != nil {
		return place{}, err
	}
	self, err := parseFile("/proc/self/cgroup", parseSelf)
	if err != nil {
		return place{}, err
	}
	m, own, err := locate(mounts, self)
	if err != nil {
		return place{}, err
	}
	if _, err := os.Stat(own + "/cgroup.procs"); err != nil {
		return place{}, fmt.Errorf("our own group: %w", err)
	}
	return place{mount: m, own: own}, nil
}

// isReal tells the host's root group, which alone may mix processes and
// controllers: it is the only one without a type.
func isReal(path string) bool {
	_, err := os.Stat(path + "/cgroup.type")
	return errors.Is(err, os.ErrNotExist)
}

// locate finds the directory of group self; a writable mount wins, then the
// last one, which lies on top.
func locate(mounts []mount, self string) (mount, string, error) {
	if len(mounts) == 0 {
		return mount{}, "", errors.New("no cgroup2 mount in /proc/self/mountinfo: boot with systemd.unified_cgroup_hierarchy=1 or mount cgroup2")
	}
	if strings.HasSuffix(self, " (deleted)") {
		return mount{}, "", fmt.Errorf("our own group %s: removed under us: start the daemon from a group that exists", self)
	}
	var best mount
	var own string
	for _, m := range mounts {
		rel, ok := below(m.root, self)
		if !ok {
			continue
		}
		if own == "" || best.readOnly || !m.readOnly {
			best, own = m, filepath.Join(m.point, rel)
		}
	}
	if own == "" {
		return mount{}, "", fmt.Errorf("our own group %s: not below any cgroup2 mount: give the container its own cgroup namespace", self)
	}
	return best, own, nil
}

// below is path seen from root. A group outside our cgroup namespace is shown as
// "/../name", which no mount of ours reaches.
func below(root, path string) (string, bool) {
	if strings.HasPrefix(root, "/..") || strings.HasPrefix(path, "/..") {
		return "", false
	}
	rel, err := filepath.Rel(root, path)
	return rel, err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

func parseFile[T any](path string, parse func(io.Reader) (T, error)) (T, error) {
	f, err := os.Open(path)
	if err != nil {
		var none T
		return none, err
	}
	defer f.Close()
	v, err := parse(f)
	if err != nil {
		return v, fmt.Errorf("parse %s: %w", path, err)
	}
	return v, nil
}
