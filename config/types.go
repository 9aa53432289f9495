package config

import (
	"strconv"
	"strings"
	"time"

	"penstock/internal/bytesize"
	"penstock/internal/hint"
)

// The types of values are structs, not numbers: go-toml gives those that are
// numbers a TOML integer without asking UnmarshalText, and 30 would be 30 ns.

// Size is a number of bytes, or a share of this host's memory.
type Size struct {
	Bytes   int64   // of a share after Load
	Percent float64 // as it was written; 0 is no share
	zero    bool    // "0" was written, rather than nothing
}

// UnmarshalText reads "512MiB", "75%", and "" as none.
func (s *Size) UnmarshalText(text []byte) error {
	written := strings.TrimSpace(string(text))
	if percent, ok := bytesize.Percent(written); ok {
		if percent > 100 {
			return hint.Errorf("at most 100%", "%q is more than there is", written)
		}
		*s = Size{Percent: percent, zero: percent == 0}
		return nil
	}
	if written == "" {
		*s = Size{}
		return nil
	}
	n, err := bytesize.Parse(written)
	if err != nil {
		return err
	}
	*s = Size{Bytes: n, zero: n == 0}
	return nil
}

// resolve gives a share its bytes; whole is what it is of, 0 is unknown.
func (s *Size) resolve(whole int64) error {
	if s.Percent == 0 {
		return nil
	}
	if whole <= 0 {
		return hint.Errorf(`write a size, such as "4GiB"`, "%q: this host's memory is unknown", s.String())
	}
	s.Bytes = int64(float64(whole) * s.Percent / 100)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s Size) String() string {
	switch {
	case s.Percent > 0:
		return strconv.FormatFloat(s.Percent, 'f', -1, 64) + "%"
	case s.Bytes == 0 && !s.zero:
		return ""
	}
	return bytesize.Format(s.Bytes)
}

// Equal is true for the same number of bytes, written in the same way.
func (s Size) Equal(other Size) bool { return s.Bytes == other.Bytes && s.Percent == other.Percent }

// Duration is a time.Duration that is written with its unit, or in whole days.
type Duration struct{ time.Duration }

const durationHint = `write "30s", "10m" or "2h"`

func errNoUnit(duration string) error {
	return hint.Errorf(durationHint, "%q has no unit", duration)
}

// UnmarshalText reads Go's form, whole days ("7d"), and "0".
func (d *Duration) UnmarshalText(text []byte) error {
	written := strings.TrimSpace(string(text))
	if written == "0" {
		d.Duration = 0
		return nil
	}
	if days, ok := strings.CutSuffix(written, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			d.Duration = time.Duration(n) * 24 * time.Hour
			return nil
		}
	}
	parsed, err := time.ParseDuration(written)
	switch {
	case err != nil && strings.Trim(written, "0123456789") == "" && written != "":
		return errNoUnit(written)
	case err != nil:
		return hint.Errorf(durationHint, "%q is not a duration", written)
	case parsed < 0:
		return hint.Errorf(durationHint, "%q is negative", written)
	}
	d.Duration = parsed
	return nil
}

// MarshalText leaves out the zero parts that time.Duration prints: "4m", not "4m0s".
func (d Duration) MarshalText() ([]byte, error) {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return []byte(text), nil
}

// CPU is a share of the processors.
type CPU struct{ Cores float64 } // 0 is no limit

// UnmarshalText reads "200%" as two cores, and "" as no limit.
func (c *CPU) UnmarshalText(text []byte) error {
	const (
		remedy     = `write "200%" for two cores, or "" for no limit`
		maxPercent = 1_000_000
	)
	written := strings.TrimSpace(string(text))
	if written == "" {
		c.Cores = 0
		return nil
	}
	n, ok := bytesize.Percent(written)
	if !ok {
		if cores, err := strconv.ParseUint(written, 10, 16); err == nil && 0 < cores && cores <= maxPercent/100 {
			return hint.Errorf(`write "`+strconv.FormatUint(cores*100, 10)+`%" for `+written+` cores`, "%q is not a share of processors: it has no unit", written)
		}
		return hint.Errorf(remedy, "%q is not a share of processors", written)
	}
	if n < 1 || n > maxPercent {
		return hint.Errorf(remedy, "%q is out of range", written)
	}
	c.Cores = n / 100
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (c CPU) MarshalText() ([]byte, error) {
	if c.Cores == 0 {
		return nil, nil
	}
	return []byte(strconv.FormatFloat(c.Cores*100, 'f', -1, 64) + "%"), nil
}

// Argv is a program and its arguments.
type Argv []string
