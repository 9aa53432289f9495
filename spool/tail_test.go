package spool

import (
	"errors"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTail_StopsAtItsLimit(t *testing.T) {
	s := tail{file: strings.NewReader("abcdef"), limit: -1}
	buf := make([]byte, 4)
	for _, want := range []string{"abcd", "ef", ""} {
		if n, err := s.Read(buf); err != nil || string(buf[:n]) != want {
			t.Errorf("got %q, %v, want %q", buf[:n], err, want)
		}
	}
	s = tail{file: strings.NewReader("abcdef"), limit: 3}
	if got, err := io.ReadAll(io.LimitReader(&s, 3)); err != nil || string(got) != "abc" {
		t.Errorf("got %q, %v", got, err)
	}
	if n, err := s.Read(buf); n != 0 || err != nil {
		t.Errorf("beyond the limit: %d, %v", n, err)
	}
}

// growing is a file of which the reads are counted.
type growing struct {
	text  string
	reads int
}

func (g *growing) ReadAt(p []byte, at int64) (int, error) {
	g.reads++
	return strings.NewReader(g.text).ReadAt(p, at)
}

// What a run says word by word costs one read(2) each time, with the look at what was
// before it; its end is known then.
func TestTail_LittleIsOneRead(t *testing.T) {
	g := &growing{}
	s, p := tail{file: g, limit: -1}, make([]byte, 1000)
	for i := range 20 {
		piece := strings.Repeat(string(rune('a'+i)), 1+i*littleMax/20)
		g.text, g.reads = g.text+piece, 0
		n, err := s.Read(p)
		if err != nil || string(p[:n]) != piece || g.reads != 1 || !s.atEnd {
			t.Errorf("%d bytes: %q, %v by %d reads, at its end: %v", len(piece), p[:n], err, g.reads, s.atEnd)
		}
	}
}

// However much comes at once, all of it is read, and its end is told only where it is.
func TestTail_MuchIsReadWhole(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := &growing{}
		s, p := tail{file: g, limit: -1}, make([]byte, 700)
		var got strings.Builder
		for range rapid.IntRange(1, 8).Draw(rt, "writes") {
			size := rapid.OneOf(rapid.IntRange(0, 20), rapid.IntRange(littleMax-2, littleMax+2), rapid.IntRange(600, 1500)).Draw(rt, "size")
			for range size {
				g.text += string(rune('a' + len(g.text)%26))
			}
			for range rapid.IntRange(0, 4).Draw(rt, "reads") {
				n, err := s.Read(p)
				if err != nil {
					rt.Fatal(err)
				}
				got.Write(p[:n])
				if s.atEnd && got.Len() < len(g.text) {
					rt.Fatalf("the end is told after %d of %d bytes", got.Len(), len(g.text))
				}
			}
		}
		for s.atEnd = false; !s.atEnd; {
			n, err := s.Read(p)
			if err != nil {
				rt.Fatal(err)
			}
			got.Write(p[:n])
		}
		if got.String() != g.text {
			rt.Fatalf("read %q of %q", got.String(), g.text)
		}
	})
}

// A file that was cut off, and grew again to other bytes, is told at the next read,
// however much that finds.
func TestTail_CutOffIsTold(t *testing.T) {
	for _, first := range []int{10, 300, 1000} {
		for _, again := range []int{-5, 0, 5, 300, 1500} {
			g := &growing{text: strings.Repeat("a", first)}
			s, p := tail{file: g, limit: -1}, make([]byte, 4000)
			if n, err := s.Read(p); n != first || err != nil {
				t.Fatalf("%d bytes: %d, %v", first, n, err)
			}
			g.text = strings.Repeat("b", first+again)
			if n, err := s.Read(p); !errors.Is(err, ErrTampered) {
				t.Errorf("%d bytes, then others, %d more: %d, %v", first, again, n, err)
			}
		}
	}
}
