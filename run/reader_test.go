package run

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
	"penstock/outcome"
)

// A second reading is the first one again, whatever became of the directory.
func TestRewind(t *testing.T) {
	m := open(t)
	r := start(t, m, script(`echo "t one"; echo "2 x"; printf "t two"`))
	verdict(t, r, outcome.CLIError) // it said nothing of its end
	d := r.Follow(1)
	defer d.Close()
	d.Rewind() // of nothing yet
	read := func() (out []backend.Event) {
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
	first := read()
	if len(first) != 3 || first[0].Seq != 2 {
		t.Fatalf("events %+v", first)
	}
	if err := os.RemoveAll(r.dir.path); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		d.Rewind()
		if _, err := d.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.Rewind() // from the middle
		if diff := cmp.Diff(first, read()); diff != "" {
			t.Errorf("reading %d differs\n%s", i+2, diff)
		}
	}
	d.Close()
	d.Rewind()
	if _, err := d.Next(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed and rewound: %v", err)
	}
}

// Output without an event doesn't keep a stream from its pings.
func TestTryComesBack(t *testing.T) {
	m := open(t)
	r := start(t, m, script(`head -c 1000000 /dev/zero | tr '\0' '\n'; echo "2 x"; echo "d stop"`))
	verdict(t, r, outcome.Completed)
	d := r.Follow(0)
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

// A stream that waits holds next to nothing, also after it has read a lot.
func TestFramesThatWaitAreSmall(t *testing.T) {
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
