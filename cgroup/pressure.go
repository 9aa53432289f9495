package cgroup

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// pressure is one *.pressure file (Documentation/accounting/psi.rst, 4.20).
type pressure struct{ some, full stall }

// stall is one line of it: avg10 in percent, total in microseconds. A missing
// line (cpu "full" before 5.13) leaves it not ok.
type stall struct {
	avg10 float64
	total uint64
	ok    bool
}

func parsePressure(r io.Reader) (pressure, error) {
	var p pressure
	sc := lines(r)
	for sc.Scan() {
		kind, rest, _ := strings.Cut(sc.Text(), " ")
		s, err := parseStall(rest)
		if err != nil {
			return pressure{}, fmt.Errorf("line %q: %w", sc.Text(), err)
		}
		switch kind {
		case "some":
			p.some = s
		case "full":
			p.full = s
		}
	}
	return p, sc.Err()
}

func parseStall(fields string) (stall, error) {
	s := stall{ok: true}
	for _, field := range strings.Fields(fields) {
		key, val, _ := strings.Cut(field, "=")
		var err error
		switch key {
		case "avg10":
			s.avg10, err = strconv.ParseFloat(val, 64)
		case "total":
			s.total, err = strconv.ParseUint(val, 10, 64)
		}
		if err != nil {
			return stall{}, err
		}
	}
	return s, nil
}
