package cgroupfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// cpuTimeLine has room for the first line of cpu.stat with any number in it. The file
// is never shorter: one pread(2) fills it.
const cpuTimeLine = len("usage_usec 18446744073709551615\n")

var usageKey = []byte("usage_usec ")

// CPUTime is the processor time, in microseconds, that the group and all below it have
// used (cpu.stat: usage_usec; every group has it, also where no controller is on). The
// kernel notes what a task uses at its clock's ticks and when it gives the processor
// up. It is read often, so the file stays open from the first call on.
func (d *Dir) CPUTime() (usec uint64, err error) {
	f, err := d.openCPU()
	if err != nil {
		return 0, err
	}
	var line [cpuTimeLine]byte
	n, err := f.ReadAt(line[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	return parseCPUTime(line[:n])
}

func parseCPUTime(text []byte) (usec uint64, err error) {
	number, ok := bytes.CutPrefix(text, usageKey)
	end := bytes.IndexByte(number, '\n')
	if !ok || end < 0 {
		return 0, fmt.Errorf("parse cpu.stat: %q: want usage_usec first", text)
	}
	return strconv.ParseUint(string(number[:end]), 10, 64)
}

func (d *Dir) openCPU() (*os.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cpu != nil {
		return d.cpu, nil
	}
	fd, err := d.openat("cpu.stat", unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	d.cpu = os.NewFile(uintptr(fd), d.Path+"/cpu.stat")
	return d.cpu, nil
}
