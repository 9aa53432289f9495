package parse

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// JSONText is the text of a JSON string as a CLI tells it piece by piece. JSON's
// escapes may cut a code point in two (a JavaScript string knows no better):
// such halves of a surrogate pair are kept, as the three bytes that UTF-8 would
// have for them, until a joiner puts them together. Like decode it leaves out
// what is no string.
type JSONText string

func (w *JSONText) UnmarshalJSON(raw []byte) error {
	if len(raw) < 2 || raw[0] != '"' {
		return nil
	}
	var out strings.Builder
	piece := 1 // where what is not yet decoded begins
	for i := 1; i < len(raw)-1; {
		n, half := surrogate(raw[i : len(raw)-1])
		if half != 0 {
			out.WriteString(plainString(raw[piece:i]))
			out.Write(halfBytes(half))
			piece = i + n
		}
		i += n
	}
	if out.Len() == 0 {
		*w = JSONText(plainString(raw[1 : len(raw)-1]))
		return nil
	}
	out.WriteString(plainString(raw[piece : len(raw)-1]))
	*w = JSONText(out.String())
	return nil
}

// surrogate is how many bytes of raw to step over, and the half that they are
// when they are one without its other.
func surrogate(raw []byte) (n int, half rune) {
	if raw[0] != '\\' {
		return 1, 0
	}
	r := escaped(raw)
	switch {
	case r < 0xD800 || r > 0xDFFF:
		return min(2, len(raw)), 0
	case r < 0xDC00 && len(raw) >= 12:
		if low := escaped(raw[6:]); low >= 0xDC00 && low <= 0xDFFF {
			return 12, 0
		}
	}
	return 6, r
}

// escaped is the code unit of a \u escape at the start of raw, else 0.
func escaped(raw []byte) rune {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0
	}
	r, err := strconv.ParseUint(string(raw[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(r)
}

func plainString(raw []byte) string {
	var s string
	quoted := make([]byte, 0, len(raw)+2)
	quoted = append(append(append(quoted, '"'), raw...), '"')
	if json.Unmarshal(quoted, &s) != nil {
		return ""
	}
	return s
}

func halfBytes(r rune) []byte {
	return []byte{0xE0 | byte(r>>12), 0x80 | byte(r>>6)&0x3F, 0x80 | byte(r)&0x3F}
}

// joiner puts text together that was cut inside a surrogate pair. half is the
// first half at the end of the text so far, held back.
type joiner struct{ half string }

// join is s with its halves joined, also across calls; one that stays alone is U+FFFD.
func (j *joiner) join(s string) string {
	if s == "" || j.half == "" && strings.IndexByte(s, 0xED) < 0 {
		return s
	}
	s = j.half + s
	j.half = ""
	var out strings.Builder
	for i := 0; i < len(s); {
		half := halfAt(s[i:])
		switch {
		case half == 0:
			_, n := utf8.DecodeRuneInString(s[i:])
			out.WriteString(s[i : i+n])
			i += n
			continue
		case half < 0xDC00 && i+3 == len(s):
			j.half = s[i:]
		case half < 0xDC00 && halfAt(s[i+3:]) >= 0xDC00:
			out.WriteRune((half-0xD800)<<10 | (halfAt(s[i+3:]) - 0xDC00) + 0x10000)
			i += 3
		default:
			out.WriteRune(utf8.RuneError)
		}
		i += 3
	}
	return out.String()
}

// rest is what is held back, at the end.
func (j *joiner) rest() string {
	if j.half == "" {
		return ""
	}
	j.half = ""
	return string(utf8.RuneError)
}

// WholeText is a text that is whole.
func WholeText(s string) string {
	var j joiner
	return j.join(s) + j.rest()
}

// halfAt is the half of a surrogate pair that s begins with, else 0.
func halfAt(s string) rune {
	if len(s) < 3 || s[0] != 0xED || s[1] < 0xA0 || s[1] > 0xBF || s[2]&0xC0 != 0x80 {
		return 0
	}
	return rune(s[0]&0x0F)<<12 | rune(s[1]&0x3F)<<6 | rune(s[2]&0x3F)
}
