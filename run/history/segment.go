package history

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/internal/openat"
)

// segmentMax is how long a segment grows, in bytes; a line is never split.
const segmentMax = 4 << 20

const suffix = ".log"

// segment is one file of the log.
type segment struct {
	number uint32
	size   int64
	lines  int   // that are needed
	needed int64 // bytes of them
}

func pathOf(dir string, number uint32) string {
	return filepath.Join(dir, fmt.Sprintf("%08d%s", number, suffix))
}

// numbers are those of the segments in dir, in their order.
func numbers(dir string) (out []uint32, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		n, err := strconv.ParseUint(name, 10, 32)
		if ok && err == nil && filepath.Base(pathOf(dir, uint32(n))) == e.Name() {
			out = append(out, uint32(n))
		}
	}
	slices.Sort(out)
	return out, err
}

// appender writes to the newest segment. Index.writing guards it.
type appender struct {
	file *os.File // nil: a segment is to be begun, or opened
	now  *segment // nil: the next line begins a segment
	last uint32   // the highest number that was ever used
	line []byte
}

// append writes one line to where it tells, or leaves nothing of it.
func (a *appender) append(dir string, text []byte) (*segment, position, error) {
	if err := a.ready(dir, int64(len(text))); err != nil {
		return nil, position{}, err
	}
	at := position{a.now.number, uint32(a.now.size), uint32(len(text) - 1)}
	if _, err := a.file.Write(text); err != nil {
		if cut := a.file.Truncate(a.now.size); cut != nil {
			// What is there of the line is damage, and the next line is not to be a part of it.
			err = errors.Join(err, cut, a.close())
			a.now = nil
		}
		return nil, position{}, err
	}
	return a.now, at, nil
}

// ready makes the newest segment one that takes a line of so many bytes. One that is full,
// has gone, can't be written to, or isn't as long as what was written to it, stays as it is.
func (a *appender) ready(dir string, line int64) error {
	if a.file == nil && a.now != nil {
		a.file, _ = openat.Kind(pathOf(dir, a.now.number), os.O_WRONLY|os.O_APPEND, 0)
	}
	if a.file != nil && a.now.size+line <= segmentMax && a.inPlace() {
		return nil
	}
	err := a.close()
	a.now = nil
	if err != nil {
		return err
	}
	return a.begin(dir)
}

// inPlace tells whether the next line will lie where it will be looked for.
func (a *appender) inPlace() bool {
	var is unix.Stat_t
	err := unix.Fstat(int(a.file.Fd()), &is)
	return err != nil || is.Nlink > 0 && is.Size == a.now.size
}

func (a *appender) begin(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	first := firstLine()
	a.last++
	f, err := openat.Kind(pathOf(dir, a.last), os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0)
	if err != nil {
		return err
	}
	if _, err := f.Write(first); err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	a.file, a.now = f, &segment{number: a.last, size: int64(len(first))}
	return nil
}

func firstLine() []byte {
	return appendLine(nil, func(b []byte) []byte { return strconv.AppendInt(append(b, header...), version, 10) })
}

func (a *appender) close() error {
	if a.file == nil {
		return nil
	}
	f := a.file
	a.file = nil
	return f.Close()
}

// scan gives each line of a segment and where it begins, without its line feed; one that
// is too long is nil. whole is up to where the last line feed is.
func scan(r io.Reader, line func(offset int64, text []byte)) (whole int64, err error) {
	in := bufio.NewReaderSize(r, 256<<10)
	var long []byte // of a line that is longer than the reader's buffer
	begin, at := int64(0), int64(0)
	for {
		part, err := in.ReadSlice('\n')
		at += int64(len(part))
		if errors.Is(err, bufio.ErrBufferFull) {
			if len(long) <= lineMax {
				long = append(long, part...)
			}
			continue
		}
		if err == io.EOF {
			return begin, nil
		}
		if err != nil {
			return begin, err
		}
		switch text := bytes.TrimSuffix(part, []byte("\n")); {
		case long == nil:
			line(begin, text)
		case len(long)+len(text) <= lineMax:
			line(begin, append(long, text...))
		default:
			line(begin, nil)
		}
		begin, long = at, nil
	}
}

func readLine(dir string, at position) (l line, err error) {
	text, err := readText(dir, at)
	if err != nil {
		return l, err
	}
	l, ok := parse(text)
	if !ok {
		return l, fmt.Errorf("history: %s: the line at %d is damaged", pathOf(dir, at.segment), at.offset)
	}
	return l, nil
}

func readText(dir string, at position) ([]byte, error) {
	f, _, err := openat.Regular(pathOf(dir, at.segment))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text := make([]byte, at.length)
	if _, err := f.ReadAt(text, int64(at.offset)); err != nil {
		return nil, fmt.Errorf("history: %s: %v", f.Name(), err)
	}
	return text, nil
}
