package history

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"penstock/internal/atomicfile"
	"penstock/internal/openat"
)

// Report is what Open has found.
type Report struct {
	Fresh bool // there was no index
	// Damaged is how many lines, and segments as a whole, could not be read. They are left
	// out from now on.
	Damaged int
	// SetAside is where an index of a later version lies now; "" is that there was none.
	SetAside string
}

// asideSuffix makes the name of the one index that is kept aside.
const asideSuffix = ".later"

// Open reads the index in dir. One that is torn is what could be read of it; one of a
// later version is set aside, and this one begins anew. The error is the host's.
func Open(dir string) (*Index, Report, error) {
	x, report, err := open(dir)
	if !errors.Is(err, errLater) {
		return x, report, err
	}
	aside := dir + asideSuffix
	if err := os.RemoveAll(aside); err != nil {
		return nil, report, fmt.Errorf("history: %w", err)
	}
	if err := os.Rename(dir, aside); err != nil {
		return nil, report, fmt.Errorf("history: %w", err)
	}
	x, report, err = open(dir)
	report.SetAside = aside
	return x, report, err
}

// Check says why Open would fail for want of a permission. It changes nothing.
func Check(dir string) error {
	found, err := numbers(dir)
	for i := 0; i < len(found) && !errors.Is(err, fs.ErrPermission); i++ {
		var f *os.File
		if f, _, err = openat.Regular(pathOf(dir, found[i])); err == nil {
			err = f.Close()
		}
	}
	if !errors.Is(err, fs.ErrPermission) {
		return nil // what else is wrong with it Open mends
	}
	return fmt.Errorf("history: %w", err)
}

var (
	// errLater is of an index of a later version.
	errLater = errors.New("history: of a later version")
	// errSegment is of a segment that is no file that can be opened.
	errSegment = errors.New("not a segment")
)

// unreadableSuffix makes the name under which such a segment is set aside.
const unreadableSuffix = ".unreadable"

// isHosts tells that the process lacks what it takes to open a file, or may not: nothing
// is known of that.
func isHosts(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) || errors.Is(err, fs.ErrPermission)
}

func open(dir string) (*Index, Report, error) {
	x := &Index{dir: dir, opened: time.Now(), entries: newEntries(), begun: map[string]position{}}
	found, err := numbers(dir)
	if _, named := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) && errors.Is(named, fs.ErrNotExist) {
		err = nil // else it is a link to nothing
	}
	if err != nil {
		return nil, Report{}, fmt.Errorf("history: %w", err)
	}
	report := Report{Fresh: len(found) == 0}
	for i, n := range found {
		s := &segment{number: n}
		x.segments = append(x.segments, s)
		damaged, err := x.load(s, i == len(found)-1)
		if errors.Is(err, errSegment) && os.Rename(pathOf(dir, n), pathOf(dir, n)+unreadableSuffix) == nil {
			x.segments = x.segments[:len(x.segments)-1]
			damaged, err = 1, nil
		}
		if err != nil {
			return nil, report, err
		}
		report.Damaged += damaged
		x.log.last = n
	}
	x.entries.sort()
	if n := len(x.segments); n > 0 && x.segments[n-1].size < segmentMax {
		x.log.now = x.segments[n-1]
	}
	return x, report, nil
}

// load reads a segment, once. One with damage is then written anew without it, so that
// each line is told of once, and what it says is said again, of where it lies now.
func (x *Index) load(s *segment, last bool) (damaged int, err error) {
	path := pathOf(x.dir, s.number)
	f, info, err := openat.Regular(path)
	if err != nil && !isHosts(err) {
		err = fmt.Errorf("%w: %w", errSegment, err)
	}
	if err != nil {
		return 0, fmt.Errorf("history: %w", err)
	}
	defer f.Close()
	damaged, err = x.applyAll(f, s)
	if errors.Is(err, errLater) {
		return 0, err
	}
	if err != nil {
		return 0, fmt.Errorf("history: %s: %w", path, err)
	}
	if damaged > 0 && rewrite(path, f) == nil {
		_, err := x.load(s, last)
		return damaged, err
	}
	// What lies behind the last line feed is what was being written when a daemon died.
	// Where more is to be written after it, it goes.
	whole := s.size
	if last && whole < info.Size() && os.Truncate(path, whole) != nil {
		s.size = segmentMax // nothing is appended to it
	}
	return damaged, nil
}

// applyAll does what the lines of a segment say, and tells how many are damaged.
func (x *Index) applyAll(f *os.File, s *segment) (damaged int, err error) {
	later := false
	s.size, err = scan(f, func(offset int64, text []byte) {
		b, ok := body(text)
		if !ok {
			damaged++
			return
		}
		if offset == 0 && bytes.HasPrefix(b, []byte(header)) {
			n, err := strconv.Atoi(string(b[len(header):]))
			later = err != nil || n > version
		}
		if l, ok := parseBody(b); ok {
			x.apply(l, position{s.number, uint32(offset), uint32(len(text))})
		}
	})
	if later {
		err = errLater
	}
	return damaged, err
}

// rewrite replaces a segment by its whole lines.
func rewrite(path string, f *os.File) error {
	text := firstLine()
	_, err := scan(io.NewSectionReader(f, 0, math.MaxInt64), func(_ int64, line []byte) {
		if _, ok := parse(line); ok {
			text = append(append(text, line...), '\n')
		}
	})
	if err != nil {
		return err
	}
	return atomicfile.Replace(path, text, (*os.File).Sync)
}

// apply does what a line says.
func (x *Index) apply(l line, at position) {
	switch l.kind {
	case begun:
		x.setBegun(l.ID, at)
	case kept, filed:
		x.setEnded(l.Entry, at)
	case removed:
		for _, id := range l.gone {
			x.forget(id)
		}
	}
}
