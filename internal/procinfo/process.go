package procinfo

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Stat is of proc_pid_stat(5).
type Stat struct {
	PID     int
	State   string // one letter: "Z" is a zombie
	Session int
	Began   uint64 // clock ticks since boot
	// WaitStatus is of a zombie what wait(2) will tell: a number where the reader
	// may know it, else 0.
	WaitStatus uint32
}

// Stat reads /proc/PID/stat.
func (p FS) Stat(pid int) (Stat, error) {
	text, err := os.ReadFile(p.path(fmt.Sprintf("%d/stat", pid)))
	if err != nil {
		return Stat{}, err
	}
	s, err := parseStat(string(text))
	return s, p.named(fmt.Sprintf("%d/stat", pid), err)
}

// parseStat looks behind the program's name, which may hold anything.
func parseStat(text string) (s Stat, err error) {
	number, _, _ := strings.Cut(text, " ")
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 50 {
		return s, fmt.Errorf("%q: want 52 fields", text)
	}
	var errs [4]error
	var wait uint64
	s.State = f[0]
	s.PID, errs[0] = strconv.Atoi(number)
	s.Session, errs[1] = strconv.Atoi(f[3])
	s.Began, errs[2] = strconv.ParseUint(f[19], 10, 64)
	wait, errs[3] = strconv.ParseUint(f[49], 10, 32)
	s.WaitStatus = uint32(wait)
	return s, errors.Join(errs[:]...)
}

// Status is of proc_pid_status(5).
type Status struct {
	UID      int // real
	Parent   int
	InnerPID int // the pid in the process's own namespace; where the kernel has none, its pid here
	Threads  uint64
	// Memory is of anonymous, shared and swapped out pages, in bytes. A zombie has
	// no memory lines and counts as none.
	Memory     uint64
	NoNewPrivs bool
	Seccomp    int // 2 is a filter
}

// Status reads /proc/PID/status.
func (p FS) Status(pid int) (Status, error) {
	f, err := os.Open(p.path(fmt.Sprintf("%d/status", pid)))
	if err != nil {
		return Status{}, err
	}
	defer f.Close()
	s, err := parseStatus(f, pid)
	return s, p.named(fmt.Sprintf("%d/status", pid), err)
}

func parseStatus(r io.Reader, pid int) (Status, error) {
	s := Status{UID: -1, InnerPID: pid}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 2<<20) // 65536 groups are a line of 700 KiB
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		if err := s.set(key, value); err != nil {
			return Status{}, fmt.Errorf("line %q: %w", lines.Text(), err)
		}
	}
	if err := lines.Err(); err != nil {
		return Status{}, err
	}
	if s.UID < 0 {
		return Status{}, errors.New("no user")
	}
	return s, nil
}

func (s *Status) set(key, value string) error {
	switch key {
	case "Uid", "PPid", "NSpid", "Threads", "RssAnon", "RssShmem", "VmSwap", "NoNewPrivs", "Seccomp":
	default:
		return nil
	}
	words := strings.Fields(value)
	if len(words) == 0 {
		return nil
	}
	word := words[0]
	if key == "NSpid" {
		word = words[len(words)-1]
	}
	n, err := strconv.ParseUint(word, 10, 53)
	switch key {
	case "Uid":
		s.UID = int(n)
	case "PPid":
		s.Parent = int(n)
	case "NSpid":
		s.InnerPID = int(n)
	case "Threads":
		s.Threads = n
	case "NoNewPrivs":
		s.NoNewPrivs = n == 1
	case "Seccomp":
		s.Seccomp = int(n)
	default:
		s.Memory += n << 10
	}
	return err
}
