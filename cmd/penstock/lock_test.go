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
