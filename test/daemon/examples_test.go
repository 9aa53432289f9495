package daemon

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The agent that docs/adding-a-backend.md builds does what is said of it there.
func TestTallyExample(t *testing.T) {
	program := filepath.Join(Top(t), "docs", "examples", "tally.sh")
	d := Start(t, Options{Config: small + fmt.Sprintf("\n[backends.tally]\nkind = \"jsonl\"\ncommand = %q\n", program)})
	ask := func(prompt string) *Answer {
		t.Helper()
		a, err := d.Chat(bounded(t, 30*time.Second), Body("tally", prompt, map[string]any{"session_id": "walk-through"}), nil)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}

	first := ask(`three "quoted" words`)
	if want := "this turn: 3 words\nthis session: 3 words\n"; first.Text != want || first.Usage["prompt_tokens"] != 3.0 {
		t.Fatalf("first turn: %q, usage %v, error %+v, want %q", first.Text, first.Usage, first.Error, want)
	}
	if second := ask("and two"); !strings.Contains(second.Text, "this session: 5 words") {
		t.Errorf("second turn: %q, error %+v", second.Text, second.Error)
	}
	if third := ask("now give up"); third.Error == nil || third.Error.Code != "cli_error" || !strings.Contains(third.Error.Message, "told to give up") {
		t.Errorf("a turn that fails: %q, error %+v", third.Text, third.Error)
	}
}
