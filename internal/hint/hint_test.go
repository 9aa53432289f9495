package hint

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

func TestErrorf(t *testing.T) {
	err := fmt.Errorf("start: %w", Errorf("set state_dir", "%s: %w", "/x", fs.ErrNotExist))
	if got, want := err.Error(), "start: /x: file does not exist (hint: set state_dir)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("the cause is lost")
	}
	if got := Errorf("", "plain").Error(); got != "plain" {
		t.Errorf("without a hint: %q", got)
	}
}

func TestSplit(t *testing.T) {
	for text, want := range map[string][2]string{
		"a: b (hint: c) d":  {"a: b d", "c"},
		"a: b":              {"a: b", ""},
		"a (hint: no end":   {"a (hint: no end", ""},
		Text("x", "y"):      {"x", "y"},
		Text("x (y)", "z"):  {"x (y)", "z"},
		Text("x: \"\"", ""): {"x: \"\"", ""},
	} {
		if message, remedy := Split(text); message != want[0] || remedy != want[1] {
			t.Errorf("%q: %q, %q", text, message, remedy)
		}
	}
}
