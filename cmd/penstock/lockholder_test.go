package main

import (
	"strings"
	"testing"
)

func TestParseLocks(t *testing.T) {
	const locks = `1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF
1: -> FLOCK  ADVISORY  WRITE 77 08:01:5678 0 EOF
2: POSIX  ADVISORY  WRITE 55 08:01:5678 0 EOF
3: FLOCK  ADVISORY  READ 56 08:01:5678 0 EOF
`
	for _, c := range []struct {
		pid   int
		inode uint64
		want  bool
	}{{1234, 5678, true}, {1234, 678, false}, {77, 5678, false}, {55, 5678, false}, {56, 5678, false}} {
		if got, err := parseLocks(strings.NewReader(locks), c.pid, c.inode); err != nil || got != c.want {
			t.Errorf("%d on %d: %v, %v", c.pid, c.inode, got, err)
		}
	}
}
