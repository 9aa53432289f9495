package procinfo

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Mount is one line of proc_pid_mountinfo(5).
type Mount struct {
	ID     uint64
	Device string // major:minor of the file system
	Root   string // of the mount within its file system
	Point  string // Root and Point with the kernel's octal escapes undone
	FSType string
	Source string
	// Options are those of this mount, SuperOptions those of its file system.
	Options, SuperOptions map[string]string
	Private               bool // neither gets mounts from elsewhere nor gives any
}

// Has tells whether this mount has an option that takes no value.
func (m Mount) Has(option string) bool {
	_, ok := m.Options[option]
	return ok
}

// Mounts are those that this process sees, in the order they were made.
func (p FS) Mounts() ([]Mount, error) { return p.mounts("self/mountinfo") }

// OwnThreadMounts are those that the calling thread sees, to which the goroutine is
// locked, whatever number it has in this proc file system: it can be of another pid
// namespace.
func (p FS) OwnThreadMounts() ([]Mount, error) { return p.mounts("thread-self/mountinfo") }

// ThreadMounts are those that a thread of this process sees.
func (p FS) ThreadMounts(tid int) ([]Mount, error) {
	return p.mounts(fmt.Sprintf("self/task/%d/mountinfo", tid))
}

func (p FS) mounts(file string) ([]Mount, error) {
	text, err := os.ReadFile(p.path(file))
	if err != nil {
		return nil, err
	}
	var all []Mount
	for line := range strings.Lines(string(text)) {
		m, err := parseMount(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, p.named(file, err)
		}
		all = append(all, m)
	}
	return all, nil
}

// parseMount reads one line:
//
//	36 35 98:0 /root /mount/point rw,noatime shared:1 master:2 - ext4 /dev/root rw,errors=continue
//
// The first hyphen ends the optional fields; a source can be one, too, and be empty.
func parseMount(line string) (Mount, error) {
	left, right, ok := strings.Cut(line, " - ")
	f, fs := strings.Split(left, " "), strings.SplitN(right, " ", 3)
	if !ok || len(f) < 6 || len(fs) < 3 {
		return Mount{}, fmt.Errorf("%q: want 6 fields, a hyphen and 3 fields", line)
	}
	id, err := strconv.ParseUint(f[0], 10, 64)
	if err != nil {
		return Mount{}, fmt.Errorf("%q: %w", line, err)
	}
	return Mount{
		ID: id, Device: f[2], Root: unescapeOctal(f[3]), Point: unescapeOctal(f[4]),
		FSType: fs[0], Source: unescapeOctal(fs[1]), Options: options(f[5]), SuperOptions: options(fs[2]),
		Private: !slices.ContainsFunc(f[6:], propagates),
	}, nil
}

// propagates is true for an optional field that makes a mount no private one. Those
// that are not known are left out, as proc_pid_mountinfo(5) asks.
func propagates(field string) bool {
	tag, _, _ := strings.Cut(field, ":")
	return slices.Contains([]string{"shared", "master", "propagate_from", "unbindable"}, tag)
}

func options(list string) map[string]string {
	all := map[string]string{}
	for one := range strings.SplitSeq(list, ",") {
		name, value, _ := strings.Cut(one, "=")
		all[name] = value
	}
	return all
}

// unescapeOctal undoes \040 and its like; anything else stays as it is.
func unescapeOctal(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1]) && octal(s[i+2]) && octal(s[i+3]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(c byte) bool { return '0' <= c && c <= '7' }
