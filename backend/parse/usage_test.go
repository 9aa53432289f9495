package parse

import (
	"math"
	"testing"
)

// A sum of which a part is unknown is unknown, and none overflows.
func TestCount_Sums(t *testing.T) {
	n := func(text string) Count { return CountOf(text) }
	most := n("9007199254740992")
	for _, row := range []struct {
		name string
		got  Count
		want *int64
	}{
		{"parts", n("1").With(n("2"), Count{}, n("3")), number[int64](6)},
		{"a wrong part", n("1").With(n("-2")), nil},
		{"the main part is missing", Count{}.With(n("2")), nil},
		{"overflow", most.With(n("1")), nil},
		{"growth", n("5").Minus(n("3")), number[int64](2)},
		{"shrunk", n("3").Minus(n("5")), nil},
		{"unknown before", n("3").Minus(Count{}), nil},
		{"calls", sumOf(n("1"), n("2")), number[int64](3)},
		{"a call that tells none", sumOf(n("1"), Count{}, n("2")), nil},
		{"no call tells any", sumOf(Count{}, Count{}), nil},
		{"calls overflow", sumOf(most, most), nil},
	} {
		if got := row.got.value(); !same(got, row.want) {
			t.Errorf("%s: %v, want %v", row.name, shown(got), shown(row.want))
		}
	}
	for _, usd := range []float64{-1, math.Inf(1), 1e300} {
		if Price(&usd) != nil {
			t.Errorf("a price of %v", usd)
		}
	}
}

func sumOf(calls ...Count) Count {
	var t Total
	for _, c := range calls {
		t.Add(c)
	}
	return t.Sum
}

func number[N any](n N) *N { return &n }

func same(a, b *int64) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

func shown(n *int64) any {
	if n == nil {
		return "absent"
	}
	return *n
}
