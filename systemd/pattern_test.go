package systemd

import (
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// aimed are the patterns people end processes by, each with what it is for.
func aimed(t *testing.T) map[*regexp.Regexp]string {
	t.Helper()
	text, err := os.ReadFile("testdata/patterns")
	if err != nil {
		t.Fatal(err)
	}
	all := map[*regexp.Regexp]string{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		pattern, victim, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok {
			t.Fatalf("%q: want a pattern, a tab and a command line", line)
		}
		all[regexp.MustCompilePOSIX(pattern)] = victim
	}
	return all
}

// The lab asks pgrep(1) the same of the daemon that the unit has started.
func TestUnit_NameUnlikeAgents(t *testing.T) {
	for _, file := range []string{"penstock.service", "user/penstock.service"} {
		command := unit(t, file)["ExecStart"]
		program, _, _ := strings.Cut(command, " ")
		for pattern, victim := range aimed(t) {
			if !pattern.MatchString(victim) {
				t.Errorf("pkill -f %q misses %q, which it is for", pattern, victim)
			}
			if pattern.MatchString(command) || pattern.MatchString(path.Base(program)) {
				t.Errorf("%s: pkill -f %q ends the daemon, %q", file, pattern, command)
			}
		}
	}
}
