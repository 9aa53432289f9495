package spawn

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is one line of /proc/PID/mountinfo (Linux Documentation/filesystems/proc.rst, 3.5).
type mount struct {
	ID      uint64
	Device  string // major:minor of the file system
	Root    string // of the mount within its file system
	Point   string // Root and Point with the kernel's octal escapes undone
	FSType  string
	Source  string
	Options []string // of this mount, not of the file system
	Private bool     // neither gets mounts from elsewhere nor gives any
}

// cgroupMount tells whether the mount shows cgroups of either version.
func (m mount) cgroupMount() bool { return m.FSType == "cgroup" || m.FSType == "cgroup2" }

// readOnly tells whether this mount refuses writes.
func (m mount) readOnly() bool {
	for _, o := range m.Options {
		if o == "ro" {
			return true
		}
	}
	return false
}

// kept are the flags a bind remount must repeat, because it clears what it
// isn't told; the kernel keeps the atime flags by itself.
func (m mount) kept() uintptr {
	var flags uintptr
	for _, o := range m.Options {
		switch o {
		case "nosuid":
			flags |= unix.MS_NOSUID
		case "nodev":
			flags |= unix.MS_NODEV
		case "noexec":
			flags |= unix.MS_NOEXEC
		case "nosymfollow":
			flags |= unix.MS_NOSYMFOLLOW
		}
	}
	return flags
}

// parseMounts reads a mountinfo file in its own order.
func parseMounts(r io.Reader) ([]mount, error) {
	var out []mount
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		head, tail := strings.Fields(before), strings.Fields(after)
		if !ok || len(head) < 6 || len(tail) < 2 {
			return nil, fmt.Errorf("parse mountinfo: %q: not a mount line", lines.Text())
		}
		id, err := strconv.ParseUint(head[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("parse mountinfo: %q: mount id: %w", lines.Text(), err)
		}
		out = append(out, mount{
			ID: id, Device: head[2], Root: unescapeOctal(head[3]),
			Point:   unescapeOctal(head[4]),
			FSType:  tail[0],
			Source:  tail[1],
			Options: strings.Split(head[5], ","),
			Private: len(head) == 6,
		})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read mountinfo: %w", err)
	}
	return out, nil
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
