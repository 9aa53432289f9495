// Package bytesize reads and writes numbers of bytes.
//
//	Parse    "512MiB" "2G" "1.5 TB" -> bytes
//	Percent  "75%" -> 75                 of what is the caller's to know
//	Format   exact, as Parse reads it:   512MiB
//	Human    for a sentence:             17.66 GiB
//	Short    for a column:               1.5G
package bytesize

import (
	"math"
	"strconv"
	"strings"

	"penstock/internal/hint"
)

// Binary units.
const (
	KiB = 1 << 10
	MiB = 1 << 20
	GiB = 1 << 30
	TiB = 1 << 40
)

// Max is what Parse takes at most: sums of sizes stay far from overflow.
const Max = 1 << 60

// Hint shows how a size is written.
const Hint = `write "512MiB", "2G" or "75%"`

// unitBytes gives the factor of a unit. As in systemd, a bare letter is a power of
// 1024; "MB" is the SI unit.
func unitBytes(unit string) (float64, bool) {
	switch strings.ToLower(unit) {
	case "", "b":
		return 1, true
	case "k", "ki", "kib":
		return KiB, true
	case "m", "mi", "mib":
		return MiB, true
	case "g", "gi", "gib":
		return GiB, true
	case "t", "ti", "tib":
		return TiB, true
	case "kb":
		return 1e3, true
	case "mb":
		return 1e6, true
	case "gb":
		return 1e9, true
	case "tb":
		return 1e12, true
	}
	return 0, false
}

// Parse reads a size in bytes; a percentage is none. The error is a *hint.Error.
func Parse(text string) (int64, error) {
	text = strings.TrimSpace(text)
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ% ")
	unit := strings.TrimSpace(text[len(digits):])
	n, ok := Decimal(digits)
	if !ok {
		return 0, hint.Errorf(Hint, "%q is not a size", text)
	}
	factor, ok := unitBytes(unit)
	if !ok {
		return 0, hint.Errorf(Hint, "%q: unknown unit %q", text, unit)
	}
	if n*factor >= Max {
		return 0, hint.Errorf("", "%q is too large", text)
	}
	return int64(math.Round(n * factor)), nil
}

// Percent reads "75%" as 75.
func Percent(text string) (percent float64, ok bool) {
	digits, ok := strings.CutSuffix(strings.TrimSpace(text), "%")
	n, valid := Decimal(strings.TrimSpace(digits))
	return n, ok && valid
}

// Decimal takes plain decimals only: no sign, exponent, hex or "inf".
func Decimal(text string) (float64, bool) {
	if text == "" || strings.Trim(text, "0123456789.") != "" || len(text) > 24 {
		return 0, false
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil
}

// unit is one that sizes are written in, the largest first.
type unit struct {
	bytes int64
	name  string
}

func units() []unit { return []unit{{TiB, "TiB"}, {GiB, "GiB"}, {MiB, "MiB"}, {KiB, "KiB"}} }

// Format writes the largest binary unit that loses nothing.
func Format(n int64) string {
	for _, u := range units() {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// Human writes the largest binary unit that fits, with two decimals where it needs
// them, such as "300 MiB" or "17.66 GiB".
func Human(n int64) string {
	for _, u := range units() {
		if n >= u.bytes {
			hundredths := math.Round(float64(n) / float64(u.bytes) * 100)
			return strconv.FormatFloat(hundredths/100, 'f', -1, 64) + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

// Short writes bytes in at most five columns: 512M, 1.5G.
func Short(n float64) string {
	const letters = "BKMGTP"
	i := 0
	for n >= 1000 && i < len(letters)-1 {
		n /= 1024
		i++
	}
	if i > 0 && n < 9.95 {
		return strings.TrimSuffix(strconv.FormatFloat(n, 'f', 1, 64), ".0") + letters[i:i+1]
	}
	return strconv.FormatFloat(math.Round(n), 'f', 0, 64) + letters[i:i+1]
}
