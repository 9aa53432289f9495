package outcome

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestStderrTail(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"empty", "", ""},
		{"blank lines", "\n \n\t\n", ""},
		{"last lines only", "1\n2\n3\n4\n5\n6\n7\n", "3 | 4 | 5 | 6 | 7"},
		{"no final newline", "a\nb", "a | b"},
		{"terminal colours", "\x1b[31mred\x1b[0m\r\n", "[31mred[0m"},
		{"broken UTF-8", "a\xffb\n", "a\uFFFDb"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := stderrTail(tt.in); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestStderrTail_Bounded(t *testing.T) {
	got := stderrTail("start " + strings.Repeat("é", 5000) + " the end\n")
	if len(got) > stderrMax+3 || !strings.HasSuffix(got, " the end") || !utf8.ValidString(got) {
		t.Errorf("tail of %d bytes ends %q, valid %v", len(got), got[len(got)-20:], utf8.ValidString(got))
	}
}

// A run that died of the memory of all is told where on the host to look, and
// nothing where nothing lies.
func TestMemoryMessage_NamesFiles(t *testing.T) {
	const at = "/tmp/systemd-private-b-penstock.service-x/tmp: 900 MiB"
	f := Facts{Outcome: Outcome{Exit: Exit{Signal: 9, Known: true}, Receipt: budget}}
	if v := Decide(f); v.Cause != MemoryLimit || strings.Contains(v.Message, "/tmp") {
		t.Errorf("%+v", v)
	}
	f.MemoryFiles = at
	if v := Decide(f); v.Cause != MemoryLimit || !strings.HasSuffix(v.Message, "files that earlier runs left in memory ("+at+")") {
		t.Errorf("%+v", v)
	}
}
