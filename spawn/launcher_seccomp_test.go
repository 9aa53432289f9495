package spawn

import (
	"slices"
	"testing"
)

// kill(0, sig) is what timeout(1) and shells do.
func TestOwnGroupIsNoVictim(t *testing.T) {
	for _, group := range []int{0, 7} {
		got := victimsOf(7, group)
		if slices.Contains(got, 0) || slices.Contains(got, uint32(1<<32-7)) != (group == 7) {
			t.Errorf("group %d: %v", group, got)
		}
	}
}
