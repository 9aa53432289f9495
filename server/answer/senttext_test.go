package answer

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestSentText(t *testing.T) {
	type step struct {
		void int // -1 is text
		text string
		more string
		ok   bool
	}
	text := func(in, more string) step { return step{-1, in, more, true} }
	void := func(keep int) step { return step{void: keep} }
	for _, row := range []struct {
		name  string
		steps []step
		whole bool
	}{
		{"plain", []step{text("ab", "ab"), text("cd", "cd")}, true},
		{"same again", []step{text("abc", "abc"), void(0), text("ab", ""), text("c", "")}, true},
		{"same and more", []step{text("abc", "abc"), void(0), text("abcd", "d"), text("e", "e")}, true},
		{"keeps a part", []step{text("abc", "abc"), void(1), text("bcd", "d")}, true},
		{"shorter", []step{text("abc", "abc"), void(0), text("ab", "")}, false},
		{"nothing follows", []step{text("abc", "abc"), void(2)}, false},
		{"differs", []step{text("abc", "abc"), void(0), {-1, "abx", "", false}}, false},
		{"differs after equal pieces", []step{text("abc", "abc"), void(0), text("a", ""), {-1, "x", "", false}}, false},
		{"void twice", []step{text("abcd", "abcd"), void(2), text("c", ""), void(1), text("bcde", "e")}, true},
		{"void beyond the end", []step{text("ab", "ab"), void(9), text("c", "c")}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			var s sentText
			for i, st := range row.steps {
				if st.text == "" {
					s.void(st.void)
					continue
				}
				if more, ok := s.text(st.text); more != st.more || ok != st.ok {
					t.Fatalf("step %d: %q %v, want %q %v", i, more, ok, st.more, st.ok)
				}
			}
			if s.consistent() != row.whole {
				t.Errorf("whole %v, want %v", s.consistent(), row.whole)
			}
		})
	}
}

// Whatever is voided and said again, what was given out is the answer.
func TestSentText_GivesTheAnswer(t *testing.T) {
	full := strings.Repeat("abcdefghij", 50)
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var s sentText
		var out strings.Builder
		for at := 0; at < len(full); {
			if r.IntN(4) == 0 {
				at = r.IntN(at + 1)
				s.void(at)
			}
			n := min(1+r.IntN(40), len(full)-at)
			more, ok := s.text(full[at : at+n])
			if !ok {
				t.Fatalf("seed %d: the same text was called another", seed)
			}
			out.WriteString(more)
			at += n
		}
		if out.String() != full || !s.consistent() {
			t.Fatalf("seed %d: gave %q", seed, out.String())
		}
	}
}

func TestSentText_Bounded(t *testing.T) {
	var s sentText
	piece := strings.Repeat("x", 100<<10)
	for range 200 {
		s.text(piece)
	}
	s.text(strings.Repeat("y", 5<<20))
	if len(s.tail) > 2*sentMax || cap(s.tail) > 8*sentMax {
		t.Errorf("holds %d bytes in %d", len(s.tail), cap(s.tail))
	}
	s.void(3)
	if _, ok := s.text("x"); ok {
		t.Error("text older than what is remembered was taken for equal")
	}
}
