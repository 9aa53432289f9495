package web

import (
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/klauspost/compress/zstd"
)

// readZstd is what ReadBody does with a body in zstd.
func readZstd(t *testing.T, in *Intake, body string) (text []byte, err error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Encoding", "zstd")
	decode, err := in.decoding(r)
	if err != nil {
		t.Fatal(err)
	}
	held := &BodyLease{intake: in}
	defer held.Release()
	return readDecoded(http.MaxBytesReader(nil, r.Body, BodyMax), decode, func(r io.Reader) io.Reader { return &metered{Reader: r, ctx: t.Context(), lease: held} })
}

// frame is a zstd frame (RFC 8878, 3.1.1) with a window of 8 MiB and those blocks.
func frame(blocks string) string { return "\x28\xb5\x2f\xfd\x00\x68" + blocks }

const (
	lastEmpty = "\x01\x00\x00"  // a raw block of no bytes, the last
	empty     = "\x00\x00\x00"  // one that is not
	repeated  = "\x02\x00\x10 " // 128 KiB of spaces
	skipped   = "\x50\x2a\x4d\x18\x00\x00\x00\x00"
)

// What asks for the most costs no more than is written down, and gives all back.
func TestUnzstd_Hostile(t *testing.T) {
	in := NewIntake()
	for name, row := range map[string]struct {
		body string
		over bool
	}{
		"a window":           {frame(lastEmpty), false},
		"windows":            {strings.Repeat(frame(lastEmpty), BodyMax/9), false},
		"empty blocks":       {frame(strings.Repeat(empty, (BodyMax-9)/3) + lastEmpty), false},
		"frames to skip":     {strings.Repeat(skipped, BodyMax/8), false},
		"one block too many": {frame(strings.Repeat(repeated, BodyMax>>17+1) + lastEmpty), true},
		"a bomb":             {strings.Repeat(frame(strings.Repeat(repeated, 100)+lastEmpty), 1000), true},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		text, err := readZstd(t, in, row.body)
		runtime.ReadMemStats(&after)
		over := new(http.MaxBytesError)
		if errors.As(err, &over) != row.over || err == nil == row.over || len(text) > 0 {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
		if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 64 {
			t.Errorf("%s: allocates %d MiB", name, n)
		}
		if !in.Idle() {
			t.Errorf("%s: it still holds room", name)
		}
	}
}

// A body that lacks its end is told so, wherever it was cut.
func TestUnzstd_Cut(t *testing.T) {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	whole := z.EncodeAll([]byte(strings.Repeat("some text ", 50)), nil)
	for n := 1; n < len(whole); n++ {
		if _, err := readZstd(t, NewIntake(), string(whole[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}

// However many ask for a window at once, two have one.
func TestUnzstd_Turns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := NewIntake()
		var turns []func()
		for range decodersMax {
			done, err := in.AcquireDecoder(t.Context(), BodyMax)
			if err != nil {
				t.Fatal(err)
			}
			turns = append(turns, done)
		}
		var refused *Error
		if _, err := readZstd(t, in, frame(lastEmpty)); !errors.As(err, &refused) || refused.Code != "queue_full" {
			t.Errorf("without a turn: %v", err)
		}
		for _, done := range turns {
			done()
		}
		if _, err := readZstd(t, in, frame(lastEmpty)); err != nil || !in.Idle() {
			t.Errorf("with one: %v, idle %v", err, in.Idle())
		}
	})
}
