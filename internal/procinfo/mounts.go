package procinfo

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
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
func (p FS) Mounts() ([]Mount, error) {
	proc, err := procfs.NewFS(string(p))
	if err != nil {
		return nil, err
	}
	lines, err := proc.GetMounts()
	if err != nil {
		return nil, p.named("self/mountinfo", err)
	}
	return mountsOf(lines), nil
}

// OwnThreadMounts are those that the calling thread sees, to which the goroutine is
// locked, whatever number it has in this proc file system: it can be of another pid
// namespace.
func (p FS) OwnThreadMounts() ([]Mount, error) {
	link, err := os.Readlink(p.path("thread-self")) // PID/task/TID
	if err != nil {
		return nil, err
	}
	tid, err := strconv.Atoi(filepath.Base(link))
	if err != nil {
		return nil, p.named("thread-self", fmt.Errorf("%q: %w", link, err))
	}
	return p.taskMounts(filepath.Dir(link), tid)
}

// ThreadMounts are those that a thread of this process sees.
func (p FS) ThreadMounts(tid int) ([]Mount, error) {
	return p.taskMounts("self/task", tid)
}

func (p FS) taskMounts(dir string, tid int) ([]Mount, error) {
	tasks, err := procfs.NewFS(p.path(dir))
	if err != nil {
		return nil, err
	}
	lines, err := tasks.GetProcMounts(tid)
	if err != nil {
		return nil, p.named(fmt.Sprintf("%s/%d/mountinfo", dir, tid), err)
	}
	return mountsOf(lines), nil
}

func mountsOf(lines []*procfs.MountInfo) []Mount {
	all := make([]Mount, len(lines))
	for i, l := range lines {
		all[i] = Mount{
			ID: uint64(l.MountID), Device: l.MajorMinorVer, Root: unescapeOctal(l.Root), Point: unescapeOctal(l.MountPoint),
			FSType: l.FSType, Source: unescapeOctal(l.Source), Options: l.Options, SuperOptions: l.SuperOptions,
			Private: len(l.OptionalFields) == 0,
		}
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
