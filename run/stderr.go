package run

import (
	"bytes"
	"io"
	"strings"
)

// stderrTail is how much of stderr's end is told in a verdict.
const stderrTail = 4 << 10

// readTail gives the last whole lines among the last max bytes of size.
func readTail(r io.ReaderAt, size, max int64) (string, error) {
	from := size - max
	if from < 0 {
		from = 0
	}
	buf := make([]byte, size-from)
	n, err := r.ReadAt(buf, from)
	if err != nil && err != io.EOF {
		return "", err
	}
	buf = buf[:n]
	if from > 0 {
		if i := bytes.IndexByte(buf, '\n'); i >= 0 && i < len(buf)-1 {
			buf = buf[i+1:]
		}
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(buf), "\uFFFD")), nil
}
