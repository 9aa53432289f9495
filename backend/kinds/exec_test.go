package kinds

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"penstock/backend"
	"penstock/backend/parse"
	"penstock/backend/program"
)

func TestExecText(t *testing.T) {
	for _, row := range []struct {
		name   string
		frames []string
		want   []string // the text events
	}{
		{"words", []string{"one ", "two\n"}, []string{"one ", "two\n"}},
		{"empty frame", []string{"", "a"}, []string{"a"}},
		{"code point in two frames", []string{"a\xe2\x82", "\xac b"}, []string{"a", "€ b"}},
		{"code point in four frames", []string{"\xf0", "\x9f", "\x98", "\x80"}, []string{"😀"}},
		{"never finished", []string{"x\xe2\x82"}, []string{"x", "\ufffd\ufffd"}},
		{"no UTF-8", []string{"a\xffb\xc0\xaf"}, []string{"a\ufffdb\ufffd\ufffd"}},
		{"NUL is a character", []string{"a\x00b"}, []string{"a\x00b"}},
		{"nothing", nil, nil},
	} {
		m := program.NewExec(backend.Config{}).Machine(backend.Request{})
		var got []string
		for _, frame := range row.frames {
			buffer := []byte(frame)
			events, _ := m.Line(buffer)
			clear(buffer)
			for _, e := range events {
				got = append(got, e.Text)
			}
		}
		for _, e := range m.Close() {
			got = append(got, e.Text)
		}
		if strings.Join(got, "|") != strings.Join(row.want, "|") {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// However output is cut into frames, the answer is the same, valid UTF-8, and
// what was valid comes through unchanged.
func TestExecFramesDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		output := rapid.OneOf(rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }), rapid.SliceOf(rapid.Byte())).Draw(t, "output")
		m := program.NewExec(backend.Config{}).Machine(backend.Request{})
		text := ""
		for rest := output; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "frame")
			events, _ := m.Line(rest[:n])
			rest = rest[n:]
			for _, e := range events {
				text += e.Text
			}
		}
		for _, e := range m.Close() {
			text += e.Text
		}
		if !utf8.ValidString(text) {
			t.Fatalf("not UTF-8: %q", text)
		}
		if want := parse.Clean(output); text != want {
			t.Fatalf("%q, whole it is %q", text, want)
		}
	})
}
