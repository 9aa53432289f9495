package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChanged(t *testing.T) {
	s := newScene(t)
	load := func(text string) Config {
		c, err := s.load(t, text)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	was := load("tokens_file = \"DIR/tokens\"\n[backends.codex]\nmodels = [\"a\"]\nset_env = { A = \"1\", B = \"2\" }")
	is := load("drain_timeout = \"5s\"\n[backends.codex]\nmodels = [\"b\"]\nset_env = { A = \"3\", B = \"2\" }\n[clients.x]\nweight = 2")
	got := Changed(was, is)
	want := []string{
		"backends.codex.models", "backends.codex.set_env.A",
		"clients.x.continuity", "clients.x.max_runs", "clients.x.operator", "clients.x.reserved_runs", "clients.x.weight", "drain_timeout", "tokens", "tokens_file",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := Changed(was, was); len(got) != 0 {
		t.Errorf("the same differs in %v", got)
	}
	// The same in other words needs no restart.
	was = load("allowed_hosts = []\ndrain_timeout = \"90s\"\n[keep]\nmin_free = \"0\"\n[limits]\nmemory_max = \"1GiB\"\ncpu_max = \"150%\"")
	is = load("drain_timeout = \"1m30s\"\n[keep]\nmin_free = \"\"\n[limits]\nmemory_max = 1073741824\nmemory_high = \"0%\"\ncpu_max = \"150.0%\"")
	if got := Changed(was, is); len(got) != 0 {
		t.Errorf("the same in other words differs in %v", got)
	}
}

// A size of nothing is shown in one way, however it was written, and no change.
func TestChanged_NothingWrittenInTwoWays(t *testing.T) {
	s := newScene(t)
	load := func(size string) Config {
		c, err := s.load(t, strings.ReplaceAll("[keep]\nmin_free = 0\n[limits]\nmemory_high = 0\nswap_max = 0\n[backends.codex.limits]\nmemory_high = 0\nswap_max = 0", "= 0", "= "+size))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, size := range []string{"0", `"0"`, `""`, `"0%"`} {
		c := load(size)
		if got := Changed(load("0"), c); len(got) != 0 {
			t.Errorf("%s: differs from 0 in %v", size, got)
		}
		var dump strings.Builder
		if err := c.Dump(&dump); err != nil {
			t.Fatal(err)
		}
		for line, times := range map[string]int{"\nmin_free = '0'\n": 1, "\nmemory_high = ''\n": 2, "\nswap_max = '0'\n": 2} {
			if strings.Count(dump.String(), line) != times {
				t.Errorf("%s: not %d times %q in\n%s", size, times, line, dump.String())
			}
		}
	}
}

func TestGroupName(t *testing.T) {
	a, b := Config{StateDir: "/a"}, Config{StateDir: "/b"}
	if a.GroupName() == b.GroupName() || a.GroupName() != (Config{StateDir: "/a", Listen: []string{"x"}}).GroupName() {
		t.Error("the group's name is not that of the state directory")
	}
}
