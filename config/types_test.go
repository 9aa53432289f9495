package config

import (
	"testing"
	"time"

	"penstock/internal/bytesize"
)

const (
	mib = bytesize.MiB
	gib = bytesize.GiB
)

// sized is a size as a file's text gives it, on a host of so many bytes.
func sized(text string, whole int64) (Size, error) {
	var s Size
	err := s.UnmarshalText([]byte(text))
	if err == nil {
		err = s.resolve(whole)
	}
	return s, err
}

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{
		"": 0, "0": 0, "1": 1, "512MiB": 512 * mib, "2 GiB": 2 * gib, "75%": 3 * gib, "0.5%": 4 * gib / 200, "100%": 4 * gib, " 7b ": 7,
	} {
		if got, err := sized(text, 4*gib); err != nil || got.Bytes != want {
			t.Errorf("%q: %d, %v; want %d", text, got.Bytes, err, want)
		}
	}
	for _, text := range []string{"G", "-1", "1e3", "101%", "%", "9e999"} {
		if got, err := sized(text, 4*gib); err == nil {
			t.Errorf("%q is taken as %d", text, got.Bytes)
		}
	}
	if _, err := sized("5%", 0); err == nil {
		t.Error("a share of what is unknown is taken")
	}
	for text, want := range map[string]string{"": "", "0": "0", "2G": "2GiB", "12.5%": "12.5%", "1023": "1023"} {
		if got, err := sized(text, gib); err != nil || got.String() != want {
			t.Errorf("%q is written as %q, %v", text, got, err)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "30s": 30 * time.Second, "1h30m": 90 * time.Minute, "7d": 168 * time.Hour, "250ms": 250 * time.Millisecond} {
		var got Duration
		if err := got.UnmarshalText([]byte(text)); err != nil || got.Duration != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "-5s", "d", "1.5d", "99999999d", "1y"} {
		var got Duration
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
}

func FuzzSize(f *testing.F) {
	for _, seed := range []string{"512MiB", "75%", "0.0001T", "18446744073709551616", "1.7e308"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := sized(text, 8*gib)
		if err != nil {
			return
		}
		if s.Bytes < 0 || s.Bytes > bytesize.Max {
			t.Fatalf("%q is %d", text, s.Bytes)
		}
		if again, err := sized(s.String(), 8*gib); err != nil || !again.Equal(s) {
			t.Fatalf("%q is %d, written %q, read %d (%v)", text, s.Bytes, s, again.Bytes, err)
		}
	})
}

func FuzzDuration(f *testing.F) {
	for _, seed := range []string{"30s", "7d", "1h0m0s", "10m0.5s", "100h"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var d, again Duration
		if d.UnmarshalText([]byte(text)) != nil {
			return
		}
		if d.Duration < 0 {
			t.Fatalf("%q is %v", text, d)
		}
		written, err := d.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if err := again.UnmarshalText(written); err != nil || again != d {
			t.Fatalf("%q is %v, written %q, read %v (%v)", text, d, written, again, err)
		}
	})
}

// A number stands for no duration, whatever go-toml would make of one.
func TestDuration_NumberWithoutUnit(t *testing.T) {
	s := newScene(t)
	for _, k := range AllKeys() {
		if k.Type != "duration" && k.Type != "cores" {
			continue
		}
		for _, literal := range []string{"0", "-0", "30", "1_000", "0x1e", "1.5", "true"} {
			path := fill(k.Name, []string{"codex"})
			if _, err := s.load(t, join(path)+" = "+literal); len(s.texts(err)) != 1 {
				t.Errorf("%s = %s: %v", k.Name, literal, err)
			}
		}
	}
}
