package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"penstock/backend"
)

// Long lines are the same lines, however they come in.
func TestLongLine_IsTheSameLine(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var text []byte
		for range rapid.IntRange(0, 8).Draw(rt, "lines") {
			size := rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(longLine-3, longLine+bufferSize+3), rapid.IntRange(3*longLine, 3*longLine+9)).Draw(rt, "size")
			text = append(text, rapid.SampledFrom([]string{"t ", "2 ", "d ", ""}).Draw(rt, "verb")...)
			text = append(text, bytes.Repeat([]byte{'a' + byte(size%26)}, size)...)
			if rapid.IntRange(0, 9).Draw(rt, "end") > 0 {
				text = append(text, '\n')
			}
		}
		most := rapid.SampledFrom([]int64{longLine, 2 * longLine, 4 * longLine}).Draw(rt, "line_max")
		read := func(shared bool) (all []string) {
			p := newParser(backend.Lines, most, &letters{}, nil)
			if shared {
				p.from(bytes.NewReader(text), &longLines{})
			}
			in := &tail{file: bytes.NewReader(text), limit: int64(len(text))}
			for !p.closed {
				events, _, ok := p.next()
				for _, e := range events {
					all = append(all, fmt.Sprint(e.Seq, e.Kind, len(e.Text), e.Text[:min(3, len(e.Text))]))
				}
				if ok {
					continue
				}
				n, err := p.frames.fill(in)
				if err != nil {
					rt.Fatal(err)
				}
				if n == 0 {
					p.frames.end()
				}
				if shared && cap(p.frames.buf) > 2*(longLine+bufferSize) {
					rt.Fatalf("%d bytes are held", cap(p.frames.buf))
				}
			}
			return append(all, fmt.Sprint("over ", p.frames.tooLong))
		}
		if diff := cmp.Diff(read(false), read(true)); diff != "" {
			rt.Fatal(diff)
		}
	})
}

// A hundred readers that hold the text of a long line hold one copy of it.
func TestLongLine_IsShared(t *testing.T) {
	const size = 8 << 20
	s := finished(t, []byte("t "+strings.Repeat("x", size)+"\nd stop\n"), false)
	var readers []*Reader
	var texts []string
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 100 {
		d := s.Follow(0)
		defer d.Close()
		e, err := d.Next(t.Context())
		if err != nil || len(e.Text) != size {
			t.Fatalf("%d bytes, %v", len(e.Text), err)
		}
		readers, texts = append(readers, d), append(texts, e.Text)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	for _, text := range texts {
		if unsafe.StringData(text) != unsafe.StringData(texts[0]) {
			t.Fatal("a reader has a copy of its own")
		}
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4*size {
		t.Errorf("%d MiB for a hundred readers of a line of %d MiB", grown>>20, size>>20)
	}
	for _, d := range readers {
		if e, err := d.Next(t.Context()); err != nil || e.Kind != backend.Done {
			t.Fatalf("after it: %+v, %v", e, err)
		}
		if e, err := d.Next(t.Context()); !errors.Is(err, io.EOF) {
			t.Fatalf("after the last: %+v, %v", e, err)
		}
	}
}

// What was one line and isn't any more when it is read again was tampered with.
func TestLongLine_Tampered(t *testing.T) {
	whole := strings.Repeat("x", 2*longLine)
	for name, now := range map[string]string{"shorter": whole[:longLine], "two lines": whole[:longLine] + "\n" + whole[longLine+1:]} {
		l := &longLines{}
		if _, _, err := l.parse(strings.NewReader(now), span{0, int64(len(whole))}, &letters{}); !errors.Is(err, ErrTampered) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := newParser(backend.Lines, 4*longLine, &letters{}, nil)
	p.from(strings.NewReader(whole[:longLine]), &longLines{})
	in := strings.NewReader(whole + "\n")
	for {
		if _, _, ok := p.next(); ok {
			t.Fatal("a frame")
		}
		if _, err := p.frames.fill(in); errors.Is(err, io.EOF) {
			t.Fatal("not noticed")
		} else if err != nil {
			if !errors.Is(err, ErrTampered) {
				t.Error(err)
			}
			return
		}
	}
}
