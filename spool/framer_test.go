package spool

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"penstock/backend"
)

// chunks hands out a text in pieces of given sizes.
type chunks struct {
	rest  []byte
	sizes func() int
}

func (c *chunks) Read(p []byte) (int, error) {
	n := copy(p, c.rest[:min(len(c.rest), max(1, c.sizes()))])
	c.rest = c.rest[n:]
	return n, nil
}

func cut(framing backend.Framing, lineMax int64, text []byte, sizes func() int) (frames []string, over bool) {
	f := frame(framing, lineMax)
	in := &chunks{rest: text, sizes: sizes}
	for {
		for line, ok := f.next(); ok; line, ok = f.next() {
			frames = append(frames, string(line))
		}
		if f.ended {
			return frames, f.tooLong
		}
		if n, _ := f.fill(in); n == 0 {
			f.end()
		}
	}
}

func frame(framing backend.Framing, lineMax int64) *framer {
	return &framer{framing: framing, lineMax: lineMax}
}

func TestFramer_Cuts(t *testing.T) {
	long := strings.Repeat("x", wordMax)
	tests := []struct {
		name    string
		framing backend.Framing
		in      string
		want    []string
		over    bool
	}{
		{"lines", backend.Lines, "a\nb\n", []string{"a", "b"}, false},
		{"last line without LF", backend.Lines, "a\nb", []string{"a", "b"}, false},
		{"empty lines", backend.Lines, "\n\na\n", []string{"", "", "a"}, false},
		{"CR and U+2028 stay", backend.Lines, "a\r\nb\u2028c\n", []string{"a\r", "b\u2028c"}, false},
		{"nothing", backend.Lines, "", nil, false},
		{"line at the cap", backend.Lines, strings.Repeat("y", 10) + "\nz\n", []string{strings.Repeat("y", 10), "z"}, false},
		{"line over the cap", backend.Lines, "a\n" + strings.Repeat("y", 11) + "\nz\n", []string{"a"}, true},
		{"last line over the cap", backend.Lines, "a\n" + strings.Repeat("y", 11), []string{"a"}, true},
		{"words", backend.Words, "a bc\nd", []string{"a ", "bc\n", "d"}, false},
		{"spaces", backend.Words, "  a", []string{" ", " ", "a"}, false},
		{"no space", backend.Words, long + "yz", []string{long, "yz"}, false},
		{"exactly the cap", backend.Words, long, []string{long}, false},
		{"code point over the cap", backend.Words, long[1:] + "é z", []string{long[1:], "é ", "z"}, false},
		{"invalid bytes", backend.Words, "a\xff\xfeb \xe2\x82", []string{"a\uFFFD\uFFFDb ", "\uFFFD\uFFFD"}, false},
		{"no line cap for words", backend.Words, strings.Repeat("y", 20), []string{strings.Repeat("y", 20)}, false},
	}
	for _, test := range tests {
		for _, size := range []int{1, 2, 3, 7, 100000} {
			got, over := cut(test.framing, 10, []byte(test.in), func() int { return size })
			if diff := cmp.Diff(test.want, got); diff != "" || over != test.over {
				t.Errorf("%s, reads of %d: over %v, frames (-want +got):\n%s", test.name, size, over, diff)
			}
		}
	}
}

func TestFramer_ReleasesLongLines(t *testing.T) {
	in := append(bytes.Repeat([]byte("x"), 8<<20), []byte("\nshort\n")...)
	f := frame(backend.Lines, 16<<20)
	r := &chunks{rest: in, sizes: func() int { return bufferSize }}
	var lengths []int
	for len(r.rest) > 0 {
		if _, err := f.fill(r); err != nil {
			t.Fatal(err)
		}
		for line, ok := f.next(); ok; line, ok = f.next() {
			lengths = append(lengths, len(line))
		}
	}
	if diff := cmp.Diff([]int{8 << 20, 5}, lengths); diff != "" {
		t.Fatal(diff)
	}
	if _, err := f.fill(r); err != nil {
		t.Fatal(err)
	}
	if cap(f.buf) > 4*bufferSize {
		t.Errorf("buffer still holds %d bytes after an 8 MiB line", cap(f.buf))
	}
}

// replayed parses text with reads of any sizes.
func replayed(framing backend.Framing, text []byte, sizes func() int) []backend.Event {
	var m backend.Machine = &letters{}
	if framing == backend.Words {
		m = &words{}
	}
	p := newParser(framing, 1000, m, nil)
	in := &chunks{rest: text, sizes: sizes}
	var all []backend.Event
	for {
		for {
			events, _, ok := p.next()
			if !ok {
				break
			}
			all = append(all, events...)
		}
		if p.closed {
			return all
		}
		if n, _ := p.frames.fill(in); n == 0 {
			p.frames.end()
		}
	}
}

func TestParser_IsDeterministic(t *testing.T) {
	line := rapid.OneOf(
		rapid.Map(rapid.SampledFrom([]string{"t ", "s ", "2 ", "w ", "d ", ""}), func(s string) []byte { return []byte(s + "é x\n") }),
		rapid.SliceOfN(rapid.Byte(), 0, 40),
		rapid.Just(bytes.Repeat([]byte("x"), wordMax-1)),
		rapid.Just([]byte("ö")),
	)
	rapid.Check(t, func(t *rapid.T) {
		spool := bytes.Join(rapid.SliceOfN(line, 0, 20).Draw(t, "spool"), nil)
		sizes := rapid.SliceOfN(rapid.IntRange(1, 5000), 1, 10).Draw(t, "sizes")
		for _, framing := range []backend.Framing{backend.Lines, backend.Words} {
			want := replayed(framing, spool, func() int { return len(spool) })
			i := 0
			got := replayed(framing, spool, func() int { i++; return sizes[i%len(sizes)] })
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("framing %d (-whole +pieces):\n%s", framing, diff)
			}
			for n, e := range want {
				if e.Seq != uint64(n+1) {
					t.Fatalf("event %d has Seq %d", n, e.Seq)
				}
			}
		}
	})
}

func FuzzFramer_Words(f *testing.F) {
	f.Add([]byte("a bc\nd"), byte(1))
	f.Add([]byte("\xe2\x82\xac \xff"), byte(2))
	f.Fuzz(func(t *testing.T, text []byte, size byte) {
		whole, _ := cut(backend.Words, 0, text, func() int { return bufferSize })
		pieces, _ := cut(backend.Words, 0, text, func() int { return int(size) })
		if diff := cmp.Diff(whole, pieces); diff != "" {
			t.Fatal(diff)
		}
		if got, want := strings.Join(whole, ""), string([]rune(string(text))); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

// A stream that waits holds next to nothing, also after it has read a lot.
func TestFramer_WaitsSmall(t *testing.T) {
	for _, size := range []int{0, 10, bufferSize, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			f := frame(backend.Lines, 2<<20)
			rest := size
			in := readerFunc(func(p []byte) (int, error) {
				n := min(rest, len(p))
				rest -= n
				clear(p[:n])
				if n > 0 && rest == 0 {
					p[n-1] = '\n'
				}
				return n, nil
			})
			for n, taken := 1, false; n > 0 || taken; {
				var err error
				if n, err = f.fill(in); err != nil {
					t.Fatal(err)
				}
				_, taken = f.next()
			}
			if cap(f.buf) > 0 {
				t.Errorf("holds %d bytes", cap(f.buf))
			}
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
