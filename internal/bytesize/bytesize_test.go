package bytesize

import "testing"

func TestParse(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "512MiB": 512 * MiB, "2G": 2 * GiB, "2 GiB": 2 * GiB, "1.5g": GiB + GiB/2,
		"1kB": 1000, "1MB": 1e6, " 7b ": 7,
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "G", "-1", "+1", "1e3", "0x10", "NaN", "inf", "1.2.3", "1GG", "1,5G", "75%", "%", "9e999", "1 2", "9999999T"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q is taken as %d", text, got)
		}
	}
}

func TestPercent(t *testing.T) {
	for text, want := range map[string]float64{"75%": 75, " 0.5 % ": 0.5, "101%": 101} {
		if got, ok := Percent(text); !ok || got != want {
			t.Errorf("%q: %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"%", "75", "-1%", "1e1%"} {
		if got, ok := Percent(text); ok {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"512MiB", "0.0001T", "18446744073709551616", "1.7e308"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := Parse(text)
		if err != nil {
			return
		}
		if n < 0 || n > Max {
			t.Fatalf("%q is %d", text, n)
		}
		if again, err := Parse(Format(n)); err != nil || again != n {
			t.Fatalf("%q is %d, written %q, read %d (%v)", text, n, Format(n), again, err)
		}
	})
}

func TestHuman(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 1023: "1023 bytes", 300 * MiB: "300 MiB", 18513063 << 10: "17.66 GiB", 900 * GiB: "900 GiB", 1536: "1.5 KiB",
	} {
		if got := Human(n); got != want {
			t.Errorf("Human(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestShort(t *testing.T) {
	for n, want := range map[float64]string{0: "0B", 999: "999B", 1000: "1K", 1 << 20: "1M", 1.5 * (1 << 30): "1.5G", 9.96 * (1 << 20): "10M", 999.9 * (1 << 20): "1000M", 1 << 50: "1P"} {
		if got := Short(n); got != want {
			t.Errorf("Short(%v) = %q, want %q", n, got, want)
		}
	}
}
