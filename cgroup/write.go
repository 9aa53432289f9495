package cgroup

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"penstock/internal/procinfo"

	"golang.org/x/sys/unix"
)

// limit is one file to write and what it must read as afterwards.
type limit struct {
	file  string
	value string
	reads string
}

func number(file string, n int64) limit {
	s := strconv.FormatInt(n, 10)
	return limit{file, s, s}
}

// memory is a byte limit: the kernel keeps whole pages and rounds down.
func memory(file string, n int64) limit {
	page := int64(os.Getpagesize())
	return limit{file, strconv.FormatInt(n, 10), strconv.FormatInt(n/page*page, 10)}
}

// set writes a limit and reads it back: a value the kernel took differently is
// a limit that does not hold.
func (d *dir) set(l limit) error {
	var got []byte
	err := d.with(l.file, unix.O_RDWR, func(fd int) (err error) {
		if err = writeOnce(fd, l.value); err == nil {
			got, err = readAll(fd)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("write %s/%s: %q: %w", d.path, l.file, l.value, unwrapPath(err))
	}
	if s := strings.TrimSpace(string(got)); s != l.reads {
		return fmt.Errorf("write %s/%s: %q: reads back as %q, want %q", d.path, l.file, l.value, s, l.reads)
	}
	return nil
}

// setSwap caps swap. A kernel that doesn't account swap has no such file; then
// the cap holds only as long as the host has no swap at all.
func (d *dir) setSwap(n int64) error {
	err := d.set(memory("memory.swap.max", n))
	if !absent(err) {
		return err
	}
	areas, serr := procinfo.Host.SwapAreas()
	if serr != nil && !absent(serr) {
		return errors.Join(err, serr)
	}
	if areas > 0 {
		return fmt.Errorf("%w: the host has swap that can't be limited: boot with swapaccount=1 or switch swap off", err)
	}
	return nil
}
