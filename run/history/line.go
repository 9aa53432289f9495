package history

import (
	"bytes"
	"hash/crc32"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Kinds of lines.
const (
	begun   = 'B'
	kept    = 'F'
	filed   = 'D'
	removed = 'R'
)

// header is what a segment's first line says; its number is the format's version.
const (
	header  = "penstock-history "
	version = 1
)

// lineMax bounds a line: a record and a checkpoint have a MiB each at most.
const lineMax = 4 << 20

// sumLen is the checksum's part of a line, with the blank after it.
const sumLen = 9

// line is what a whole line says.
type line struct {
	kind byte
	Entry
	data []byte   // of begun, kept and filed
	gone []string // of removed: ids
}

// appendLine writes a line in the form that parse reads. The body has no line feed.
func appendLine(to []byte, body func([]byte) []byte) []byte {
	begin := len(to)
	to = append(to, "00000000 "...)
	to = body(to)
	copy(to[begin:], checksum(to[begin+sumLen:]))
	return append(to, '\n')
}

func checksum(body []byte) []byte {
	const digits = "0123456789abcdef"
	sum := crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))
	var text [8]byte
	for i := range text {
		text[i] = digits[sum>>(28-4*i)&15]
	}
	return text[:]
}

// body gives what a line says, without its line feed; false is that it is damaged.
func body(l []byte) ([]byte, bool) {
	if len(l) < sumLen || l[sumLen-1] != ' ' || !bytes.Equal(l[:sumLen-1], checksum(l[sumLen:])) {
		return nil, false
	}
	return l[sumLen:], true
}

func (l line) append(to []byte) []byte {
	return appendLine(to, func(b []byte) []byte {
		b = append(b, l.kind, ' ')
		if l.kind == removed {
			return append(b, strings.Join(l.gone, " ")...)
		}
		b = append(append(b, l.ID...), ' ')
		if l.kind != begun {
			for _, n := range []int64{l.Created.UnixMicro(), l.Ended.UnixMicro(), l.Bytes} {
				b = append(strconv.AppendInt(b, n, 10), ' ')
			}
			b = append(append(b, url.PathEscape(l.Client)...), ' ')
		}
		return append(b, bytes.ReplaceAll(l.data, []byte("\n"), nil)...)
	})
}

// parse reads a line without its line feed; the data stays a part of it. False is that
// it is damaged, or of no kind that there is.
func parse(text []byte) (l line, ok bool) {
	b, ok := body(text)
	if !ok {
		return l, false
	}
	return parseBody(b)
}

func parseBody(b []byte) (l line, ok bool) {
	if len(b) < 2 || b[1] != ' ' {
		return l, false
	}
	l.kind, b = b[0], b[2:]
	switch l.kind {
	case removed:
		l.gone = strings.Fields(string(b))
		return l, true
	case begun:
		id, data, ok := bytes.Cut(b, []byte(" "))
		l.ID, l.data = string(id), data
		return l, ok
	case kept, filed:
		l.Filed = l.kind == filed
		l.Entry.ID, b = cut(b)
		var n [3]int64
		for i := range n {
			text, rest, _ := bytes.Cut(b, []byte(" "))
			var err error
			if n[i], err = strconv.ParseInt(string(text), 10, 64); err != nil {
				return l, false
			}
			b = rest
		}
		l.Created, l.Ended, l.Bytes = time.UnixMicro(n[0]), time.UnixMicro(n[1]), n[2]
		client, data := cut(b)
		var err error
		l.Client, err = url.PathUnescape(client)
		l.data = data
		return l, err == nil
	}
	return l, false
}

func cut(b []byte) (word string, rest []byte) {
	w, rest, _ := bytes.Cut(b, []byte(" "))
	return string(w), rest
}
