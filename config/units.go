package config

import (
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	mib = 1 << 20
	gib = 1 << 30
	// sizeLimit keeps sums of sizes far from overflow.
	sizeLimit = 1 << 60
)

const sizeHint = `write "512MiB", "2G" or "75%"`

// unitBytes gives the factor of a size's unit. As in systemd, a bare letter is
// a power of 1024; "MB" is the SI unit.
func unitBytes(unit string) (float64, bool) {
	switch strings.ToLower(unit) {
	case "", "b":
		return 1, true
	case "k", "ki", "kib":
		return 1 << 10, true
	case "m", "mi", "mib":
		return mib, true
	case "g", "gi", "gib":
		return gib, true
	case "t", "ti", "tib":
		return 1 << 40, true
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

// parseSize reads a size in bytes; percentages are of whole, in bytes, where 0
// is unknown.
func parseSize(text string, whole int64) (int64, *fault) {
	text = strings.TrimSpace(text)
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ% ")
	unit := strings.TrimSpace(text[len(digits):])
	n, ok := parseNumber(digits)
	if !ok {
		return 0, faultf(sizeHint, "%q is not a size", text)
	}
	if unit == "%" {
		if n > 100 {
			return 0, faultf("at most 100%", "%q is more than there is", text)
		}
		if whole <= 0 {
			return 0, faultf(`write a size, such as "4GiB"`, "%q: this host's memory is unknown", text)
		}
		return int64(float64(whole) * n / 100), nil
	}
	factor, ok := unitBytes(unit)
	if !ok {
		return 0, faultf(sizeHint, "%q: unknown unit %q", text, unit)
	}
	if n*factor >= sizeLimit {
		return 0, faultf("", "%q is too large", text)
	}
	return int64(math.Round(n * factor)), nil
}

// share is a size that was written as a percentage, and what that came to.
type share struct {
	bytes   int64
	percent float64
}

// percentOf reads a size's percentage, where it is one.
func percentOf(text string) (float64, bool) {
	digits, ok := strings.CutSuffix(strings.TrimSpace(text), "%")
	n, valid := parseNumber(strings.TrimSpace(digits))
	return n, ok && valid
}

// parseNumber takes plain decimals only: no sign, exponent, hex or "inf".
func parseNumber(text string) (float64, bool) {
	if text == "" || strings.Trim(text, "0123456789.") != "" || len(text) > 24 {
		return 0, false
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil
}

const durationHint = `write "30s", "10m" or "2h"`

// parseDuration reads Go's form and whole days ("7d").
func parseDuration(text string) (time.Duration, *fault) {
	text = strings.TrimSpace(text)
	if text == "0" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil && strings.Trim(text, "0123456789") == "" && text != "":
		return 0, faultf(durationHint, "%q has no unit", text)
	case err != nil:
		return 0, faultf(durationHint, "%q is not a duration", text)
	case d < 0:
		return 0, faultf(durationHint, "%q is negative", text)
	}
	return d, nil
}

// parseCores reads "200%" as 2; "" is 0, off.
func parseCores(text string) (float64, *fault) {
	const hint = `write "200%" for two cores, or "" for no limit`
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, nil
	}
	percent, ok := strings.CutSuffix(text, "%")
	n, valid := parseNumber(strings.TrimSpace(percent))
	if !ok || !valid {
		return 0, faultf(hint, "%q is not a share of processors", text)
	}
	if n < 1 || n > 1e6 {
		return 0, faultf(hint, "%q is out of range", text)
	}
	return n / 100, nil
}

var binaryUnits = []struct {
	bytes int64
	name  string
}{{1 << 40, "TiB"}, {gib, "GiB"}, {mib, "MiB"}, {1 << 10, "KiB"}}

// formatSize writes the largest binary unit that loses nothing.
func formatSize(n int64) string {
	for _, u := range binaryUnits {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// Size writes bytes for a person: the largest binary unit that fits, with two
// decimals where it needs them, such as "300 MiB" or "17.66 GiB".
func Size(n int64) string {
	for _, u := range binaryUnits {
		if n >= u.bytes {
			hundredths := math.Round(float64(n) / float64(u.bytes) * 100)
			return strconv.FormatFloat(hundredths/100, 'f', -1, 64) + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

// formatDuration leaves out the zero parts that time.Duration prints: "4m", not "4m0s".
func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func formatCores(cores float64) string {
	if cores == 0 {
		return ""
	}
	return strconv.FormatFloat(cores*100, 'f', -1, 64) + "%"
}
