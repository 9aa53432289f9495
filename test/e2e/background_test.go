package e2e

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"penstock/test/daemon"
)

// openaiResponses is the one SDK that has all operations of responses.
var openaiResponses = way{stock{"openai", "responses", false}, true}

func background(url, prompt string) conversation {
	return conversation{BaseURL: url, Model: "demo", Turns: says(prompt), Extra: map[string]any{"background": true}}
}

// A response in the background, by the SDK's own methods: made, waited for, followed
// after its end, its input, cancelled, deleted.
func TestBackground_ByTheSDK(t *testing.T) {
	d := daemon.Start(t, daemon.Options{})
	clients := openSDKs(t)
	whole, after := false, 3
	asked := background(d.URL, "/delay 20ms one two three four five six")
	asked.Turns[0].Stream = &whole
	asked.Turns = append(asked.Turns, turn{Op: "retrieve"}, turn{Op: "follow"}, turn{Op: "follow", After: &after},
		turn{Op: "items"}, turn{Op: "cancel"}, turn{Op: "delete"}, turn{Op: "retrieve"})
	turns, err := clients.hold(openaiResponses, asked)
	if err != nil || len(turns) != len(asked.Turns) {
		t.Fatalf("%d turns: %v: %v", len(turns), turns, err)
	}
	made, waited, followed, later, items, cancelled, gone := turns[0], turns[1], turns[2], turns[3], turns[4], turns[5], turns[7]
	if made.Error != nil || made.Status != "queued" && made.Status != "in_progress" {
		t.Errorf("made: %q %v", made.Status, made)
	}
	const text = "one two three four five six"
	for name, s := range map[string]seen{"retrieve": waited, "follow": followed, "cancel": cancelled} {
		if s.Error != nil || s.Status != "completed" || !strings.Contains(s.Text, text) || s.ID != made.ID {
			t.Errorf("%s: %q %v", name, s.Status, s)
		}
	}
	if later.Error != nil || len(later.Numbers) == 0 || slices.Min(later.Numbers) <= after || later.Status != "completed" || !strings.HasSuffix(followed.Text, later.Text) {
		t.Errorf("after %d: %v %v", after, later.Numbers, later)
	}
	if items.Error != nil || !strings.Contains(items.Text, text) {
		t.Errorf("its input: %v", items)
	}
	if gone.Error == nil || gone.Error.Status != 404.0 {
		t.Errorf("after its deletion: %v", gone)
	}
}

// A response that is cancelled ends at once, says so each time it is asked, and its stream
// raises in the SDK.
func TestBackground_Cancelled(t *testing.T) {
	d := daemon.Start(t, daemon.Options{})
	clients := openSDKs(t)
	whole := false
	asked := background(d.URL, "one /sleep 300 two")
	asked.Turns[0].Stream = &whole
	asked.Turns = append(asked.Turns, turn{Op: "cancel"}, turn{Op: "cancel"}, turn{Op: "retrieve"}, turn{Op: "follow"})
	turns, err := clients.hold(openaiResponses, asked)
	if err != nil || len(turns) != len(asked.Turns) {
		t.Fatalf("%d turns: %v: %v", len(turns), turns, err)
	}
	for _, s := range turns[1:4] {
		if s.Error != nil || s.Status != "cancelled" || s.ID != turns[0].ID {
			t.Errorf("%q %v", s.Status, s)
		}
	}
	if s := turns[4]; s.Error == nil || !strings.Contains(s.failed(), "cancelled") {
		t.Errorf("its stream: %v", s)
	}
	if err := d.WaitEmpty(grace); err != nil {
		t.Error(err)
	}
}

// A response in the background, followed by the SDK, outlives a daemon that is killed: what
// comes after the last event that was seen completes it, each event once.
func TestBackground_SurvivesTheDaemon(t *testing.T) {
	for name, cli := range map[string]string{"demo": "demo", "conversational": "codex"} {
		t.Run(name, func(t *testing.T) {
			w := begin(t, "")
			clients := openSDKs(t)
			asked := background(w.URL, map[string]string{
				"demo":  "/delay 80ms tok0 tok1 tok2 tok3 tok4 tok5 tok6 tok7 tok8 tok9",
				"codex": "SCN=long N=10 DELAY=80",
			}[cli])
			asked.Model = cli
			asked.Turns[0].Most = 7
			first := clients.last(t, openaiResponses, asked)
			if first.Error != nil || len(first.Numbers) != 7 || !clientID.MatchString(first.ID) {
				t.Fatalf("begun: %v", first)
			}
			if err := w.Cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			<-w.Exited()
			w.Daemon = w.Restart(t)
			last := first.Numbers[len(first.Numbers)-1]
			asked = conversation{BaseURL: w.URL, Model: cli, Turns: []turn{{Op: "follow", ID: first.ID, After: &last}, {Op: "follow", ID: first.ID}}}
			turns, err := clients.hold(openaiResponses, asked)
			if err != nil || len(turns) != 2 {
				t.Fatalf("%v: %v", turns, err)
			}
			rest, whole := turns[0], turns[1]
			if rest.Error != nil || rest.Status != "completed" || slices.Min(rest.Numbers) <= last {
				t.Errorf("the rest: %v %v", rest.Numbers, rest)
			}
			if first.Text+rest.Text != whole.Text || strings.Count(whole.Text, "tok9") != 1 {
				t.Errorf("%q and %q, of %q", first.Text, rest.Text, whole.Text)
			}
		})
	}
}
