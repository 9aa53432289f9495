package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestQuartilesOf(t *testing.T) {
	for _, c := range []struct {
		samples []float64
		want    quartiles
	}{
		{[]float64{7}, quartiles{7, 7, 7}},
		{[]float64{5, 1, 3, 2, 4}, quartiles{2, 3, 4}},
		{[]float64{4, 1, 3, 2}, quartiles{1.75, 2.5, 3.25}},
	} {
		if got := quartilesOf(c.samples); got != c.want {
			t.Errorf("%v: %v, want %v", c.samples, got, c.want)
		}
	}
}

// A machine that was three times as slow in one round has moved both sides: the
// ratio is each round's, not that of two medians.
func TestFigure_RatiosAreOfPairs(t *testing.T) {
	f := (&bench{}).figure("Runs", "ms", against("naive", "<= 2x"))
	for _, pair := range [][2]float64{{1, 2}, {3, 6}, {1, 2}} {
		f.add("naive", pair[0])
		f.add(now, pair[1])
	}
	if got := f.ratioCell(now, "naive"); got != "2.00x [2.00 2.00]" {
		t.Error(got)
	}
	if got := f.ratioCell(before, "naive"); got != "" {
		t.Errorf("of a side without samples: %q", got)
	}
	if got := f.cell(before); got != "not run" {
		t.Errorf("of a side without samples: %q", got)
	}
}

func TestInTurn_EachComesFirst(t *testing.T) {
	var order []string
	once := func(name string) contender {
		return contender{name, func(int) error { order = append(order, name); return nil }}
	}
	if err := inTurn(3, []contender{once("a"), once("b"), once("c")}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, ""); got != "abcbcacab" {
		t.Error(got)
	}
}

// What benchstat reads: names without blanks, a number of iterations, pairs of value
// and unit.
func TestSummary(t *testing.T) {
	b := &bench{options: options{out: filepath.Join(t.TempDir(), "out")}}
	f := b.figure("Runs/clients=1", "runs/s", moreIsBetter, against("bare kill", ""))
	f.add("bare kill", 400)
	f.add("bare kill", 500)
	f.add(now, 100)
	f.add(now, 250)
	if err := b.writeSummary(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(b.out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Unit runs/s better=higher\n", "Unit rate/bare-kill better=higher\n",
		"BenchmarkRuns/clients=1/side=bare-kill-", "\t1\t100 runs/s\t0.25 rate/bare-kill\n", "\t1\t250 runs/s\t0.5 rate/bare-kill\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
