package cgroupfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// StatReader collects many files of one group: an absent file is nil, a failure
// is kept and returned once by Err, next to all that could be read.
type StatReader struct {
	Dir  *Dir
	errs []error
}

func Optional[T any](r *StatReader, file string, parse func(io.Reader) (T, error)) *T {
	v, err := Parse(r.Dir, file, parse)
	if IsAbsent(err) {
		return nil
	}
	if err != nil {
		r.errs = append(r.errs, err)
		return nil
	}
	return &v
}

// Parse reads and parses one file of a group.
func Parse[T any](d *Dir, file string, parse func(io.Reader) (T, error)) (T, error) {
	b, err := d.Read(file)
	if err != nil {
		var none T
		return none, err
	}
	v, err := parse(bytes.NewReader(b))
	if err != nil {
		err = fmt.Errorf("parse %s/%s: %w", d.Path, file, err)
	}
	return v, err
}

func (r *StatReader) Value(file string) *uint64 { return Optional(r, file, ParseValue) }

// Limit is value, but "max" is no limit and so nil.
func (r *StatReader) Limit(file string) *uint64 {
	v := r.Value(file)
	if v == nil || *v == Unlimited {
		return nil
	}
	return v
}

func (r *StatReader) Keyed(file string) Keyed {
	m := Optional(r, file, ParseKeyed)
	if m == nil {
		return nil
	}
	return *m
}

func (r *StatReader) Pressure(file string) Pressure {
	p := Optional(r, file, ParsePressure)
	if p == nil {
		return Pressure{}
	}
	return *p
}

func (r *StatReader) Err() error { return errors.Join(r.errs...) }

type Keyed map[string]uint64

// Get is nil for a key this kernel doesn't write.
func (f Keyed) Get(key string) *uint64 {
	v, ok := f[key]
	if !ok {
		return nil
	}
	return &v
}

func (s psiLine) TotalUsec() *uint64 {
	if !s.ok {
		return nil
	}
	return &s.total
}

func (s psiLine) Percent() *float64 {
	if !s.ok {
		return nil
	}
	return &s.avg10
}
