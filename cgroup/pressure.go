package cgroup

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Pressure is one *.pressure file (Documentation/accounting/psi.rst, 4.20).
type Pressure struct{ Some, Full psiLine }

// psiLine is one line of it: avg10 in percent, total in microseconds. A missing
// line (cpu "full" before 5.13) leaves it not ok.
type psiLine struct {
	avg10 float64
	total uint64
	ok    bool
}

func ParsePressure(r io.Reader) (Pressure, error) {
	var p Pressure
	sc := lines(r)
	for sc.Scan() {
		kind, rest, _ := strings.Cut(sc.Text(), " ")
		s, err := parsePSILine(rest)
		if err != nil {
			return Pressure{}, fmt.Errorf("line %q: %w", sc.Text(), err)
		}
		switch kind {
		case "some":
			p.Some = s
		case "full":
			p.Full = s
		}
	}
	return p, sc.Err()
}

func parsePSILine(fields string) (psiLine, error) {
	s := psiLine{ok: true}
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
			return psiLine{}, err
		}
	}
	return s, nil
}
