package cgroupfs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseValue(t *testing.T) {
	for in, want := range map[string]uint64{"0\n": 0, "4096\n": 4096, "max\n": Unlimited, "18446744073709551614": Unlimited - 1} {
		if got, err := ParseValue(strings.NewReader(in)); got != want || err != nil {
			t.Errorf("%q: %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "-1", "1 2", "12k"} {
		if got, err := ParseValue(strings.NewReader(in)); err == nil {
			t.Errorf("%q: %d, want an error", in, got)
		}
	}
}

func TestParseKeyed(t *testing.T) {
	got, err := ParseKeyed(strings.NewReader("low 0\nmax 12\noom_group_kill 1\nhigh max\n"))
	want := map[string]uint64{"low": 0, "max": 12, "oom_group_kill": 1, "high": Unlimited}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if f := Keyed(got); f.Get("oom") != nil || *f.Get("low") != 0 {
		t.Error("an absent key must be nil and a zero one must not")
	}
	for _, in := range []string{"oom", "oom x", "oom -1"} {
		if _, err := ParseKeyed(strings.NewReader(in)); err == nil {
			t.Errorf("%q: want an error", in)
		}
	}
}

func TestParsePopulated(t *testing.T) {
	for in, want := range map[string]bool{"populated 1\nfrozen 0\n": true, "frozen 0\npopulated 0\n": false} {
		if got, err := parsePopulated(strings.NewReader(in)); got != want || err != nil {
			t.Errorf("%q: %v, %v, want %v", in, got, err, want)
		}
	}
	if _, err := parsePopulated(strings.NewReader("frozen 0\n")); err == nil {
		t.Error("without a populated line: want an error, not empty")
	}
}

func TestParseIOStat(t *testing.T) {
	in := "8:0 rbytes=100 wbytes=20 rios=3 wios=4 dbytes=0 dios=0\n254:1\n8:16 rbytes=1 wbytes=2 rios=1 wios=1\n"
	if got, err := ParseIOStat(strings.NewReader(in)); got != (IOBytes{101, 22}) || err != nil {
		t.Errorf("%+v, %v, want 101 read and 22 written", got, err)
	}
	if got, err := ParseIOStat(strings.NewReader("")); got != (IOBytes{}) || err != nil {
		t.Errorf("empty: %+v, %v", got, err)
	}
	if _, err := ParseIOStat(strings.NewReader("8:0 rbytes=x")); err == nil {
		t.Error("rbytes=x: want an error")
	}
}

func TestParsePIDs(t *testing.T) {
	got, err := parsePIDs(strings.NewReader("12\n0\n7\n"))
	if d := cmp.Diff([]int{12, 7}, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if _, err := parsePIDs(strings.NewReader("12 13\n")); err == nil {
		t.Error("two on a line: want an error")
	}
}

func TestParsePressure(t *testing.T) {
	in := "some avg10=1.25 avg60=0.50 avg300=0.10 total=98765\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=42\n"
	p, err := ParsePressure(strings.NewReader(in))
	if err != nil || *p.Some.Percent() != 1.25 || *p.Some.TotalUsec() != 98765 || *p.Full.TotalUsec() != 42 {
		t.Errorf("%+v, %v", p, err)
	}
	p, err = ParsePressure(strings.NewReader("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"))
	if err != nil || p.Full.Percent() != nil || p.Some.Percent() == nil {
		t.Errorf("without a full line: %+v, %v", p, err)
	}
	if _, err := ParsePressure(strings.NewReader("some avg10=x total=0\n")); err == nil {
		t.Error("avg10=x: want an error")
	}
}
