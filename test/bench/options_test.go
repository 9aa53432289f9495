package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// What can't come to anything is refused before the first minute, all of it at once.
func TestOptions_RefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	good := options{rounds: 1, kept: 1, penstock: "/bin/sh", out: filepath.Join(dir, "out")}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	bad := options{penstock: "/bin/sh", before: filepath.Join(dir, "none"), goJudge: dir, out: filepath.Join(dir, "none", "out")}
	err := bad.check()
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{"ROUNDS: 0", "KEPT: 0", "PENSTOCK_BEFORE: ", "GO_JUDGE: ", "BENCH_OUT: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
}

func TestOptions_CLIs(t *testing.T) {
	installed := map[string][]string{"pi": nil, "claude": nil}
	for only, want := range map[string]string{"": "claude pi", "pi": "pi", "pi,klaude": `CLIS: "klaude": not one of claude pi`} {
		got, err := options{only: only}.chosenCLIs(installed)
		text := strings.Join(got, " ")
		if err != nil {
			text = err.Error()
		}
		if text != want {
			t.Errorf("%q: %s, want %s", only, text, want)
		}
	}
}
