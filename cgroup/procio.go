package cgroup

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// StorageIO sums what the group's live processes have read from and written to
// storage, in bytes (proc_pid_io(5)). It is for groups without the io controller,
// such as those of systemd's user manager, and dearer than reading io.stat. It
// falls when a process ends.
func (g *Group) StorageIO() (uint64, error) {
	pids, err := g.dir.procs()
	if err != nil {
		return 0, err
	}
	var sum uint64
	for _, pid := range pids {
		n, err := parseFile(fmt.Sprintf("/proc/%d/io", pid), parseProcIO)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// parseProcIO leaves out what was only moved between processes or over the
// network (rchar, wchar): a runtime that waits does that too.
func parseProcIO(r io.Reader) (uint64, error) {
	var sum uint64
	var known bool
	sc := lines(r)
	for sc.Scan() {
		key, value, _ := strings.Cut(sc.Text(), ": ")
		if key != "read_bytes" && key != "write_bytes" {
			continue
		}
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("line %q: %w", sc.Text(), err)
		}
		sum, known = sum+n, true
	}
	if err := sc.Err(); err != nil {
		return 0, err
	}
	if !known {
		return 0, errors.New("no read_bytes and write_bytes: the kernel has no task I/O accounting")
	}
	return sum, nil
}
