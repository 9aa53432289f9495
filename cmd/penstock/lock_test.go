package main

import (
	"slices"
	"strings"
	"testing"
)

func TestParseLocks(t *testing.T) {
	const locks = `1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF
1: -> FLOCK  ADVISORY  WRITE 77 08:01:5678 0 EOF
2: POSIX  ADVISORY  WRITE 55 08:01:5678 0 EOF
3: FLOCK  ADVISORY  READ 56 08:01:5678 0 EOF
4: FLOCK  ADVISORY  WRITE 0 08:01:5678 0 EOF
5: FLOCK  ADVISORY  WRITE 9 08:02:5678 0 EOF
`
	for inode, want := range map[uint64][]int{5678: {1234, 9}, 678: nil} {
		if got, err := parseLocks(strings.NewReader(locks), inode); err != nil || !slices.Equal(got, want) {
			t.Errorf("%d: %v, %v", inode, got, err)
		}
	}
}

func TestParseStatus(t *testing.T) {
	for text, want := range map[string]procStatus{
		"Name:\tx\nUid:\t1000\t0\t0\t0\nNSpid:\t77\t5\t1\n": {1000, 1},
		"Uid:\t0\t0\t0\t0\nNSpid:\t77\n":                    {0, 77},
		"Uid:\t0\t0\t0\t0\n":                                {0, 77},
	} {
		if got, err := parseStatus(strings.NewReader(text), 77); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "Uid:\t\n", "Uid:\t0\nNSpid:\tx\n"} {
		if got, err := parseStatus(strings.NewReader(text), 77); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}
