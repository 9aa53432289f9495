package spawn

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseZombie(t *testing.T) {
	line := func(name, state, status string) string {
		return "4711 (" + name + ") " + state + strings.Repeat(" 0", 48) + " " + status + "\n"
	}
	for _, row := range []struct {
		name, stat string
		want       unix.WaitStatus
		ok         bool
	}{
		{"exited", line("sh", "Z", "768"), 3 << 8, true},
		{"killed", line("sh", "Z", "9"), 9, true},
		{"a name like a field", line("a) Z 1", "Z", "0"), 0, true},
		{"alive", line("sh", "S", "0"), 0, false},
		{"cut", "4711 (sh) Z 1 2", 0, false},
		{"no number", line("sh", "Z", "x"), 0, false},
		{"empty", "", 0, false},
	} {
		if got, ok := parseZombie(row.stat); got != row.want || ok != row.ok {
			t.Errorf("%s: %v %v, want %v %v", row.name, got, ok, row.want, row.ok)
		}
	}
}
