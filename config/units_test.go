package config

import (
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	tests := []struct {
		text string
		want int64
	}{
		{"0", 0}, {"1", 1}, {"512MiB", 512 * mib}, {"2G", 2 * gib}, {"2 GiB", 2 * gib}, {"1.5g", gib + gib/2},
		{"1kB", 1000}, {"1MB", 1e6}, {"75%", 3 * gib}, {"0.5%", 4 * gib / 200}, {"100%", 4 * gib}, {" 7b ", 7},
	}
	for _, tt := range tests {
		if got, err := parseSize(tt.text, 4*gib); err != nil || got != tt.want {
			t.Errorf("%q: %d, %v; want %d", tt.text, got, err, tt.want)
		}
	}
	for _, text := range []string{"", "G", "-1", "+1", "1e3", "0x10", "NaN", "inf", "1.2.3", "1GG", "1,5G", "101%", "%", "9e999", "1 2"} {
		if got, err := parseSize(text, 4*gib); err == nil {
			t.Errorf("%q is taken as %d", text, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "30s": 30 * time.Second, "1h30m": 90 * time.Minute, "7d": 168 * time.Hour, "250ms": 250 * time.Millisecond} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "-5s", "d", "1.5d", "99999999d", "1y"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, seed := range []string{"512MiB", "75%", "0.0001T", "18446744073709551616", "1.7e308"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parseSize(text, 8*gib)
		if err != nil {
			return
		}
		if n < 0 || n > sizeLimit {
			t.Fatalf("%q is %d", text, n)
		}
		if again, err := parseSize(formatSize(n), 0); err != nil || again != n {
			t.Fatalf("%q is %d, written %q, read %d (%v)", text, n, formatSize(n), again, err)
		}
	})
}

func FuzzParseDuration(f *testing.F) {
	for _, seed := range []string{"30s", "7d", "1h0m0s", "10m0.5s", "100h"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDuration(text)
		if err != nil {
			return
		}
		if d < 0 {
			t.Fatalf("%q is %v", text, d)
		}
		if again, err := parseDuration(formatDuration(d)); err != nil || again != d {
			t.Fatalf("%q is %v, written %q, read %v (%v)", text, d, formatDuration(d), again, err)
		}
	})
}

func TestSizeForAPerson(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 1023: "1023 bytes", 300 * mib: "300 MiB", 18513063 << 10: "17.66 GiB", 900 * gib: "900 GiB", 1536: "1.5 KiB",
	} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) = %q, want %q", n, got, want)
		}
	}
}
