package dialect

import (
	"bytes"
	"encoding/json"
	"io"
	"unicode/utf8"
)

const textPiece = 8 << 10

// JSONText writes the inside of a JSON string as its text comes in. The result
// is that of encoding the text at once, whatever the pieces: escapes stand for
// single code points, and it never cuts inside one.
type JSONText struct {
	w    io.Writer
	held []byte // not yet written, at most textPiece bytes

	out bytes.Buffer // of enc
	enc *json.Encoder
}

func NewJSONText(w io.Writer) *JSONText {
	t := &JSONText{w: w}
	t.enc = json.NewEncoder(&t.out)
	t.enc.SetEscapeHTML(false)
	return t
}

func (t *JSONText) Add(piece string) error {
	for len(piece) > 0 {
		n := min(len(piece), textPiece-len(t.held))
		t.held = append(t.held, piece[:n]...)
		piece = piece[n:]
		if len(t.held) == textPiece {
			if err := t.spill(wholeRunes(t.held)); err != nil {
				return err
			}
		}
	}
	return nil
}

// End writes what is held; the start of a code point that nothing completed
// becomes U+FFFD.
func (t *JSONText) End() error { return t.spill(len(t.held)) }

func (t *JSONText) spill(n int) error {
	t.out.Reset()
	if err := t.enc.Encode(string(t.held[:n])); err != nil {
		return err
	}
	t.held = append(t.held[:0], t.held[n:]...)
	text := bytes.TrimSuffix(t.out.Bytes(), []byte("\n"))
	_, err := t.w.Write(text[1 : len(text)-1]) // without its quotes
	return err
}

// wholeRunes is the length of b without the start of a code point at its end
// that more bytes could complete.
func wholeRunes(b []byte) int {
	for at := len(b) - 1; at >= 0 && len(b)-at < utf8.UTFMax; at-- {
		if !utf8.RuneStart(b[at]) {
			continue
		}
		if utf8.FullRune(b[at:]) {
			break
		}
		return at
	}
	return len(b)
}
