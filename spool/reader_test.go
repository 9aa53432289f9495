package spool

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"penstock/backend"
)

// lines is the tests' backend: one letter and a rest per line.
type lines struct{ backend.Backend }

func (lines) Framing() backend.Framing                { return backend.Lines }
func (lines) Machine(backend.Request) backend.Machine { return &letters{} }

// finished is the spool of a run that has ended after it wrote text.
func finished(t *testing.T, text []byte, explained bool) *Spool {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spool")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	s := New("run", ended)
	s.Set(path, info, &Replay{Backend: lines{}, LineMax: 16 << 20, OutputMax: 64 << 20})
	s.Publish()
	s.Finish(info.Size(), explained)
	close(ended)
	return s
}

// letters holds each text back until the next line, so that its state shows.
type letters struct {
	held string
}

func (l *letters) Open() [][]byte { return nil }

func (l *letters) Line(line []byte) (events []backend.Event, write [][]byte) {
	events = l.Close()
	verb, rest, _ := strings.Cut(string(line), " ")
	switch verb {
	case "t":
		l.held = rest
	case "d":
		events = append(events, backend.Event{Kind: backend.Done, Finish: rest})
	case "2":
		events = append(events, backend.Event{Kind: backend.Notice, Text: rest}, backend.Event{Kind: backend.Reasoning, Text: rest})
	}
	return events, write
}

func (l *letters) Close() (events []backend.Event) {
	if l.held != "" {
		events = []backend.Event{{Kind: backend.Text, Text: l.held}}
		l.held = ""
	}
	return events
}

// words makes an event of each frame.
type words struct{}

func (words) Open() [][]byte { return nil }
func (words) Line(line []byte) ([]backend.Event, [][]byte) {
	return []backend.Event{{Kind: backend.Text, Text: string(line)}}, nil
}
func (words) Close() []backend.Event { return nil }

// What was opened while it was there is read when it isn't any more.
func TestReader_OpenedBeforePruning(t *testing.T) {
	s := finished(t, []byte("t one"), true)
	d := s.Follow(0)
	defer d.Close()
	if more, err := d.Open(); more != nil || err != nil {
		t.Fatal(more, err)
	}
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	if e, err := d.Next(t.Context()); err != nil || e.Text != "one" {
		t.Errorf("%+v, %v", e, err)
	}
	late := s.Follow(0)
	defer late.Close()
	if _, err := late.Next(t.Context()); !errors.Is(err, ErrPruned) {
		t.Errorf("opened afterwards: %v", err)
	}
}

// A run goes on while the daemon has no descriptor to read it by, and so does its answer.
func TestReader_WaitsForADescriptor(t *testing.T) {
	d := finished(t, []byte("t one"), true).Follow(0)
	defer d.Close()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	set := func(cur uint64) {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: cur, Max: limit.Max}); err != nil {
			t.Fatal(err)
		}
	}
	set(0)
	e, more, err := d.Try()
	set(limit.Cur)
	if e.Kind != 0 || more == nil || err != nil {
		t.Fatalf("%+v %v %v", e, more, err)
	}
	if e, err := d.Next(t.Context()); err != nil || e.Text != "one" {
		t.Errorf("%+v %v", e, err)
	}
}

// Another reading is the first one again, whatever became of the directory, and none is in the
// way of another.
func TestReader_Again(t *testing.T) {
	s := finished(t, []byte("t one\n2 x\nt two"), true) // it said nothing of its end
	d := s.Follow(1)
	defer d.Close()
	if _, err := d.Again().Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("of nothing yet: %v", err)
	}
	read := func(d *Reader) (out []backend.Event) {
		for {
			e, err := d.Next(t.Context())
			if errors.Is(err, io.EOF) {
				return out
			}
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, e)
		}
	}
	first := read(d)
	if len(first) != 3 || first[0].Seq != 2 {
		t.Fatalf("events %+v", first)
	}
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	begun := d.Again()
	if _, err := begun.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, read(d.Again())); diff != "" {
		t.Errorf("another one differs\n%s", diff)
	}
	if diff := cmp.Diff(first[1:], read(begun)); diff != "" {
		t.Errorf("the one that was begun before differs\n%s", diff)
	}
	d.Close()
	if _, err := d.Again().Next(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("of a closed one: %v", err)
	}
}

// A reader that followed the live run hears its end from the verdict, however late it reads.
func TestReader_MadeBeforeTheEnd(t *testing.T) {
	ended := make(chan struct{})
	s := New("run", ended)
	s.Set(filepath.Join(t.TempDir(), "removed by its own process"), nil, &Replay{Backend: lines{}})
	d := s.Follow(0)
	defer d.Close()
	s.MarkTampered()
	s.Publish()
	s.Finish(0, true)
	close(ended)
	if _, err := d.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("made before the end: %v, want io.EOF", err)
	}
	late := s.Follow(0)
	defer late.Close()
	if _, err := late.Next(t.Context()); !errors.Is(err, ErrTampered) {
		t.Errorf("made after it: %v, want ErrTampered", err)
	}
}

// Output without an event doesn't keep a stream from its pings.
func TestReader_TryComesBack(t *testing.T) {
	d := finished(t, []byte(strings.Repeat("\n", 1000000)+"2 x\nd stop\n"), false).Follow(0)
	defer d.Close()
	silent := 0
	for {
		e, more, err := d.Try()
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind != 0 {
			break
		}
		if !isClosed(more) {
			t.Fatal("it waits for an ended run")
		}
		silent++
	}
	if most := 1000000 / bufferSize; silent < 2 || silent > most {
		t.Errorf("came back %d times, want 2 to %d", silent, most)
	}
}

func TestReadTail(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"", ""}, {"short\n", "short"}, {"one\ntwo three\nfour\n", "four"},
		{"0123456789abcdef", "6789abcdef"}, {"x\xff\n", "x\uFFFD"},
	} {
		if got, err := readTail(strings.NewReader(test.in), int64(len(test.in)), 10); err != nil || got != test.want {
			t.Errorf("%q: got %q, %v", test.in, got, err)
		}
	}
}

// A reader that has seen all there is holds no buffer, and doesn't look again before
// the spool has grown.
func TestReader_RestsSmall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool")
	if err := os.WriteFile(path, []byte("2 one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	s := New("run", make(chan struct{}))
	s.Set(path, info, &Replay{Backend: lines{}, LineMax: 1 << 20, OutputMax: 64 << 20, Buffers: &Buffers{}})
	s.Publish()
	d := s.Follow(0)
	defer d.Close()
	for waits := false; !waits; {
		e, more, err := d.Try()
		if err != nil {
			t.Fatal(err)
		}
		waits = e.Kind == 0 && !isClosed(more)
	}
	if n := cap(d.reading.parser.frames.buf); n > 0 {
		t.Errorf("a reader that waits holds %d bytes", n)
	}
	if err := os.WriteFile(path, []byte("2 one\n2 two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if e, _, err := d.Try(); e.Kind != 0 || err != nil {
		t.Errorf("it read again before it was told to: %+v, %v", e, err)
	}
	s.Grown.Signal()
	if e, _, err := d.Try(); e.Text != "two" || err != nil {
		t.Errorf("after the signal: %+v, %v, want the new event", e, err)
	}
}
