package cgroupfs

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/internal/hostinfo"
)

// Limit is one file to write and what it must read as afterwards.
type Limit struct {
	File      string
	Value     string
	ReadsBack string
}

// NumberLimit is a limit that reads back as it was written.
func NumberLimit(file string, n int64) Limit {
	return TextLimit(file, strconv.FormatInt(n, 10))
}

// TextLimit is one in words, such as "max" or a quota with its period.
func TextLimit(file, text string) Limit { return Limit{file, text, text} }

// BytesLimit is a byte limit: the kernel keeps whole pages and rounds down.
func BytesLimit(file string, n int64) Limit {
	page := int64(os.Getpagesize())
	return Limit{file, strconv.FormatInt(n, 10), strconv.FormatInt(n/page*page, 10)}
}

const swapFile = "memory.swap.max"

// SwapLimit caps swap, see checkNoSwap.
func SwapLimit(n int64) Limit { return BytesLimit(swapFile, n) }

// Set writes a limit and reads it back: a value the kernel took differently is
// a limit that does not hold.
func (d *Dir) Set(l Limit) error {
	var got []byte
	err := d.with(l.File, unix.O_RDWR, func(fd int) (err error) {
		if err = writeOnce(fd, l.Value); err == nil {
			got, err = readAll(fd)
		}
		return err
	})
	if err != nil {
		err = fmt.Errorf("write %s/%s: %q: %w", d.Path, l.File, l.Value, UnwrapPath(err))
		if l.File == swapFile && IsAbsent(err) {
			return checkNoSwap(err)
		}
		return err
	}
	if s := strings.TrimSpace(string(got)); s != l.ReadsBack {
		return fmt.Errorf("write %s/%s: %q: reads back as %q, want %q", d.Path, l.File, l.Value, s, l.ReadsBack)
	}
	return nil
}

// checkNoSwap is for a kernel that doesn't account swap, and so has no such file: the
// cap holds only as long as the host has no swap at all.
func checkNoSwap(err error) error {
	areas, serr := hostinfo.Host.SwapAreas()
	if serr != nil && !IsAbsent(serr) {
		return errors.Join(err, serr)
	}
	if areas > 0 {
		return fmt.Errorf("%w: the host has swap that can't be limited: boot with swapaccount=1 or switch swap off", err)
	}
	return nil
}
