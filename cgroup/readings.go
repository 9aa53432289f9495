package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// readings collects many files of one group: an absent file is nil, a failure
// is kept and told once at the end, next to all that could be read.
type readings struct {
	d    *dir
	errs []error
}

func parsed[T any](r *readings, file string, parse func(io.Reader) (T, error)) *T {
	v, err := parseIn(r.d, file, parse)
	if absent(err) {
		return nil
	}
	if err != nil {
		r.errs = append(r.errs, err)
		return nil
	}
	return &v
}

// parseIn reads and parses one file of a group.
func parseIn[T any](d *dir, file string, parse func(io.Reader) (T, error)) (T, error) {
	b, err := d.read(file)
	if err != nil {
		var none T
		return none, err
	}
	v, err := parse(bytes.NewReader(b))
	if err != nil {
		err = fmt.Errorf("parse %s/%s: %w", d.path, file, err)
	}
	return v, err
}

func (r *readings) value(file string) *uint64 { return parsed(r, file, parseValue) }

// limit is value, but "max" is no limit and so nil.
func (r *readings) limit(file string) *uint64 {
	v := r.value(file)
	if v == nil || *v == unlimited {
		return nil
	}
	return v
}

func (r *readings) flat(file string) flat {
	m := parsed(r, file, parseFlat)
	if m == nil {
		return nil
	}
	return *m
}

func (r *readings) pressure(file string) pressure {
	p := parsed(r, file, parsePressure)
	if p == nil {
		return pressure{}
	}
	return *p
}

func (r *readings) err() error { return errors.Join(r.errs...) }

type flat map[string]uint64

// get is nil for a key this kernel doesn't write.
func (f flat) get(key string) *uint64 {
	v, ok := f[key]
	if !ok {
		return nil
	}
	return &v
}

func (s stall) totalUsec() *uint64 {
	if !s.ok {
		return nil
	}
	return &s.total
}

func (s stall) percent() *float64 {
	if !s.ok {
		return nil
	}
	return &s.avg10
}
