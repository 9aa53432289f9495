package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is USER_HZ, which is 100 on every Linux.
const ticksPerSecond = 100

// processorTime is utime and stime of proc_pid_stat(5), in seconds.
func processorTime(pid int) (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	user, err1 := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticksPerSecond, errors.Join(err1, err2)
}

// processorOf is the processor time that a process needs while f runs.
func processorOf(pid int, f func() error) (seconds float64, err error) {
	from, err := processorTime(pid)
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	to, err := processorTime(pid)
	return to - from, err
}

// resident is VmRSS in bytes.
func resident(pid int) (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(raw), "VmRSS:")
	var kib float64
	_, err = fmt.Sscan(rest, &kib)
	return kib * 1024, err
}

// errNoStrace is of a machine without it.
var errNoStrace = errors.New("strace isn't installed")

// systemCalls counts those of a process and its threads over a while, by strace,
// which slows the process down: nothing else is measured meanwhile.
func systemCalls(pid int, length time.Duration) (perSecond float64, err error) {
	program, err := exec.LookPath("strace")
	if err != nil {
		return 0, errNoStrace
	}
	file, err := os.CreateTemp("", "penstock-bench-strace-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-f", "-c", "-o", file.Name(), "-p", strconv.Itoa(pid))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	if ctx.Err() == nil {
		return 0, fmt.Errorf("strace: %w: %s", err, out)
	}
	seconds := time.Since(begun).Seconds()
	// The last line: "100.00    0.123456          12       999        10 total".
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 3 && fields[len(fields)-1] == "total" {
			calls, err := strconv.ParseFloat(fields[3], 64)
			return calls / seconds, err
		}
	}
	return 0, fmt.Errorf("strace: no total in its table: %s", out)
}
