package dialect

import (
	"bytes"
	"strings"
	"testing"

	"penstock/server/web"
)

func FuzzJSONText(f *testing.F) {
	f.Add("a\"\xf0\x9f\x98\x80\u2028", 3)
	f.Add(strings.Repeat("é", textPiece), textPiece-1)
	f.Add("x"+strings.Repeat("😀\xe2\x82", textPiece), 1)
	f.Fuzz(func(t *testing.T, text string, size int) {
		want, err := web.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		in := NewJSONText(&out)
		for rest := text; rest != ""; {
			n := min(max(size, 1), len(rest))
			if err := in.Add(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := in.End(); err != nil {
			t.Fatal(err)
		}
		if got := `"` + out.String() + `"`; got != string(want) {
			t.Errorf("in pieces of %d: %q, want %q", size, got, want)
		}
	})
}
