package cgroupfs

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Unlimited is what the kernel's word "max" reads as.
const Unlimited = ^uint64(0)

// lines reads a kernel file of a few short lines; a longer one makes it grow.
func lines(r io.Reader) *bufio.Scanner {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 256), bufio.MaxScanTokenSize)
	return sc
}

// ParseValue reads a single value file: a number or "max".
func ParseValue(r io.Reader) (uint64, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return 0, err
	}
	s := strings.TrimSpace(string(b))
	if s == "max" {
		return Unlimited, nil
	}
	return strconv.ParseUint(s, 10, 64)
}

// ParseKeyed reads a flat keyed file ("key value" per line): memory.events,
// cpu.stat, pids.events, cgroup.events.
func ParseKeyed(r io.Reader) (map[string]uint64, error) {
	m := map[string]uint64{}
	sc := lines(r)
	for sc.Scan() {
		key, val, ok := strings.Cut(sc.Text(), " ")
		if !ok {
			return nil, fmt.Errorf("line %q: want \"key value\"", sc.Text())
		}
		if val == "max" {
			m[key] = Unlimited
			continue
		}
		n, err := strconv.ParseUint(val, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", sc.Text(), err)
		}
		m[key] = n
	}
	return m, sc.Err()
}

// IOBytes is the sum of io.stat over all devices.
type IOBytes struct{ Read, Written uint64 }

// ParseIOStat reads io.stat: "major:minor rbytes=1 wbytes=2 ..." per line.
func ParseIOStat(r io.Reader) (IOBytes, error) {
	var sum IOBytes
	sc := lines(r)
	for sc.Scan() {
		for _, field := range strings.Fields(sc.Text()) {
			key, val, ok := strings.Cut(field, "=")
			if !ok || (key != "rbytes" && key != "wbytes") {
				continue
			}
			n, err := strconv.ParseUint(val, 10, 64)
			if err != nil {
				return IOBytes{}, fmt.Errorf("line %q: %w", sc.Text(), err)
			}
			if key == "rbytes" {
				sum.Read += n
			} else {
				sum.Written += n
			}
		}
	}
	return sum, sc.Err()
}

// ParseWords reads a space separated list: cgroup.controllers,
// cgroup.subtree_control.
func ParseWords(r io.Reader) ([]string, error) {
	b, err := io.ReadAll(r)
	return strings.Fields(string(b)), err
}

// parsePIDs reads cgroup.procs. The kernel writes 0 for a process outside our
// pid namespace; such a process can't be named and is left out.
func parsePIDs(r io.Reader) ([]int, error) {
	var pids []int
	sc := lines(r)
	for sc.Scan() {
		n, err := strconv.Atoi(sc.Text())
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", sc.Text(), err)
		}
		if n > 0 {
			pids = append(pids, n)
		}
	}
	return pids, sc.Err()
}

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

func ParseFile[T any](path string, parse func(io.Reader) (T, error)) (T, error) {
	f, err := os.Open(path)
	if err != nil {
		var none T
		return none, err
	}
	defer f.Close()
	v, err := parse(f)
	if err != nil {
		return v, fmt.Errorf("parse %s: %w", path, err)
	}
	return v, nil
}
