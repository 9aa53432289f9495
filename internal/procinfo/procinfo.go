// Package procinfo reads files of /proc that prometheus/procfs doesn't tell all of, or
// fails for. Package hostinfo has the rest.
//
//	mountinfo       Mounts, OwnThreadMounts  mounts.go    procfs fails for a source "-" and for lines of 64 KiB
//	PID/stat        Stat                     process.go   procfs drops the exit status
//	PID/status      Status                   process.go   procfs has no threads, parent and seccomp
//	loadavg         Tasks                    procinfo.go  procfs has the averages alone
//	meminfo         Memory                   procinfo.go  procfs fails for any line that is odd
//
// Each error names its file. A process that is gone is fs.ErrNotExist or ESRCH.
package procinfo

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// FS is where a proc file system is mounted.
type FS string

// Host is the one of this process.
const Host FS = "/proc"

// Tasks counts all that there are, by proc_loadavg(5): "0.1 0.2 0.3 1/234 5678".
func (p FS) Tasks() (int64, error) {
	text, err := os.ReadFile(p.path("loadavg"))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 4 {
		return 0, p.named("loadavg", fmt.Errorf("%q: want four fields", text))
	}
	_, all, _ := strings.Cut(fields[3], "/")
	n, err := strconv.ParseInt(all, 10, 64)
	return n, p.named("loadavg", err)
}

// Memory is of proc_meminfo(5), in bytes; nil is a line that is not there.
type Memory struct{ Total, Available *uint64 }

// Memory reads /proc/meminfo. What else is in it may be as it will: some kernels have
// lines without a blank behind the colon.
func (p FS) Memory() (Memory, error) {
	text, err := os.ReadFile(p.path("meminfo"))
	if err != nil {
		return Memory{}, err
	}
	var m Memory
	for name, into := range map[string]**uint64{"MemTotal:": &m.Total, "MemAvailable:": &m.Available} {
		for line := range strings.Lines(string(text)) {
			value, found := strings.CutPrefix(line, name)
			if !found {
				continue
			}
			n, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 53)
			if err != nil {
				return Memory{}, p.named("meminfo", fmt.Errorf("line %q: %w", line, err))
			}
			n <<= 10
			*into = &n
		}
	}
	return m, nil
}

func (p FS) path(file string) string { return string(p) + "/" + file }

// named adds the file to an error that doesn't tell it.
func (p FS) named(file string, err error) error {
	if err == nil || strings.Contains(err.Error(), p.path(file)) {
		return err
	}
	return fmt.Errorf("parse %s: %w", p.path(file), err)
}
