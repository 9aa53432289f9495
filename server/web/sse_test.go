package web

import (
	"net/http/httptest"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A frame that is put together is the frame that is encoded as a whole, byte by byte.
func TestSSE_TextIsData(t *testing.T) {
	piece := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"plain <a> & b", "\n", "\r", "\t", "\"", "\\", "\x00", "\x7f", "\u0085", "\u2028", "é", "😀", "\xff"}))
	rapid.Check(t, func(rt *rapid.T) {
		text := strings.Join(rapid.SliceOf(piece).Draw(rt, "text"), "")
		resumable, id := rapid.Bool().Draw(rt, "resumable"), rapid.SampledFrom([]int64{NoID, 0, 7}).Draw(rt, "id")
		var got [2]string
		for i := range got {
			r := httptest.NewRecorder()
			s := NewSSE(NewReply(r), resumable)
			var err error
			if i == 0 {
				err = s.Data(id, map[string]string{"text": text})
			} else {
				var f TextFrame
				if err = f.Around(map[string]string{"text": "x"}, "x"); err == nil {
					_, err = s.Text(id, &f, text, NoID)
				}
			}
			if err != nil {
				rt.Fatal(err)
			}
			got[i] = r.Body.String()
		}
		if got[0] != got[1] {
			rt.Fatalf("put together:\n%q\nencoded:\n%q", got[1], got[0])
		}
	})
}

// What comes together shares the room of a frame, and a stream that rests holds little.
func TestSSE_TextSharesRoom(t *testing.T) {
	s := NewSSE(NewReply(httptest.NewRecorder()), true)
	f := TextFrame{`data: {"text":`, "}\n"}
	text := func(size int) {
		if _, err := s.Text(1, &f, strings.Repeat("a", size), NoID); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct{ size, kept int }{{20, frameKept}, {20 << 10, 0}} {
		text(row.size)
		room := &s.frame[:1][0]
		text(row.size)
		if room != &s.frame[:1][0] {
			t.Errorf("the second frame of %d bytes has room of its own", row.size)
		}
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		if n := cap(s.frame); n > row.kept {
			t.Errorf("after frames of %d bytes it rests with %d", row.size, n)
		}
	}
}
