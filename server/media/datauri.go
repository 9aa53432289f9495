package media

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

var (
	errNoString = errors.New("not a string")
	errTooLarge = errors.New("too large")
)

// dataURI is a data URI (RFC 2397), its data still encoded.
type dataURI struct {
	mediaType string // without parameters, in lower case; "" is none: text/plain by the RFC, unknown by those that write it
	name      string // of parameter name or filename, which some clients add
	base64    bool
	data      []byte
}

const uriHeaderMax = 1 << 10 // bytes before the comma

// parseDataURI takes what clients write: any case, white space around each word, ";base64" at any
// place, a parameter's value in quotes, which may hold commas and semicolons.
func parseDataURI(text []byte) (u dataURI, err error) {
	text = text[len("data:"):]
	comma := headerEnd(text[:min(len(text), uriHeaderMax)])
	if comma < 0 {
		return u, fmt.Errorf("the data URI has no comma in its first %d bytes, where its data begin", uriHeaderMax)
	}
	u.data = text[comma+1:]
	for i, word := range splitUnquoted(string(text[:comma])) {
		key, value, given := strings.Cut(string(unescape(word)), "=")
		key = strings.ToLower(strings.TrimSpace(key))
		switch {
		case key == "base64" && !given:
			u.base64 = true
		case i == 0 && !given:
			u.mediaType = key
		case (key == "name" || key == "filename") && u.name == "":
			u.name = strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return u, nil
}

// headerEnd is where the comma is that ends the header: the first outside of quotes, or the
// first where the quotes never end; -1 is none.
func headerEnd(text []byte) int {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == ',' && !quoted:
			return i
		}
	}
	if quoted {
		return bytes.IndexByte(text, ',')
	}
	return -1
}

// splitUnquoted splits at the semicolons outside of quotes.
func splitUnquoted(text string) []string {
	quoted, escaped := false, false
	return strings.FieldsFunc(text, func(r rune) bool {
		switch {
		case escaped:
			escaped = false
		case r == '\\' && quoted:
			escaped = true
		case r == '"':
			quoted = !quoted
		}
		return r == ';' && !quoted
	})
}

// decode is the URI's data, at most most bytes. Where it isn't base64 every byte that is no escape
// stands for itself, a '#' and a line break too: what they'd mean in a URL would cut the text.
func (u dataURI) decode(most int64) ([]byte, error) {
	if u.base64 {
		return decodeBase64(u.data, true, most)
	}
	if data := unescape(u.data); int64(len(data)) <= most {
		return data, nil
	}
	return nil, errTooLarge
}

// unescape undoes percent-encoding. A '%' without two digits is one.
func unescape[T string | []byte](text T) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c, ok := escape(text[i:])
		if ok {
			i += 2
		}
		out = append(out, c)
	}
	return out
}

// escape is the byte that a text, which isn't empty, begins with, escaped or not.
func escape[T string | []byte](text T) (c byte, escaped bool) {
	if len(text) < 3 || text[0] != '%' {
		return text[0], false
	}
	high, low := digit(text[1]), digit(text[2])
	if high|low > 15 {
		return text[0], false
	}
	return high<<4 | low, true
}

func digit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0xff
}

// sextets are the values of base64's digits in both alphabets, above 63 of what is none.
var sextets = func() (values [256]byte) {
	for c := range values {
		values[c] = 0xff
	}
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for _, last := range []string{"+/", "-_"} {
		for v, c := range []byte(digits + last) {
			values[c] = byte(v)
		}
	}
	return values
}()

// decodeBase64 takes both alphabets, which can't be confused, with and without padding and with
// white space anywhere; escapes has it take percent-encoding, too. The result has at most most bytes.
func decodeBase64(text []byte, escapes bool, most int64) ([]byte, error) {
	out := make([]byte, 0, min(int64(len(text)/4*3+3), most))
	var bits uint32
	digits, padding := 0, false
	for i := 0; i < len(text); i++ {
		c, at := text[i], i
		if escapes && c == '%' {
			var escaped bool
			if c, escaped = escape(text[i:]); escaped {
				i += 2
			}
		}
		switch v := sextets[c]; {
		case c == ' ' || '\t' <= c && c <= '\r':
		case c == '=':
			padding = true
		case v > 63 || padding:
			return nil, fmt.Errorf("not base64 at byte %d of %d", at+1, len(text))
		default:
			bits = bits<<6 | uint32(v)
			if digits++; digits%4 == 1 {
				continue
			}
			if int64(len(out)) == most {
				return nil, errTooLarge
			}
			out = append(out, byte(bits>>((4-digits%4)%4*2)))
		}
	}
	if digits%4 == 1 {
		return nil, errors.New("base64 that ends in the middle of a byte: it was cut off")
	}
	return out, nil
}
