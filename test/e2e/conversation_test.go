package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"penstock/test/daemon"
)

// held is a conversation of a stock client that is under way, or over.
type held struct {
	way
	asked conversation
	turns []seen
	err   error
}

// all holds a conversation of each client, side by side. ask makes it.
func (s *sdks) all(clients []way, ask func(way) conversation) []*held {
	var all []*held
	var under sync.WaitGroup
	for _, c := range clients {
		h := &held{way: c, asked: ask(c)}
		all = append(all, h)
		under.Go(func() { h.turns, h.err = s.hold(h.way, h.asked) })
	}
	under.Wait()
	return all
}

// each fails the test of a conversation that wasn't held to its end; else look looks at it.
func each(t *testing.T, all []*held, look func(t *testing.T, h *held)) {
	t.Helper()
	for _, h := range all {
		t.Run(h.String(), func(t *testing.T) {
			if h.err != nil {
				t.Fatal(h.err)
			}
			look(t, h)
		})
	}
}

// answered wants every turn to have come to its own end, as the client tells it.
func answered(t *testing.T, h *held) {
	t.Helper()
	for i, s := range h.turns {
		if s.Error != nil || s.Finish != h.good() || s.Requests != 1 || !clientID.MatchString(s.ID) {
			t.Fatalf("turn %d, %d requests: %v", i+1, s.Requests, s)
		}
		if len(s.Numbers) > 0 { // streamed, by a client of responses that shows the events
			if s.Events[0] != "response.created" || s.Events[len(s.Events)-1] != "response.completed" {
				t.Errorf("turn %d: events %v", i+1, s.Events)
			}
			if !slices.IsSorted(s.Numbers) || len(slices.Compact(slices.Clone(s.Numbers))) != len(s.Numbers) {
				t.Errorf("turn %d: sequence numbers %v", i+1, s.Numbers)
			}
		}
	}
	if len(h.turns) != len(h.asked.Turns) {
		t.Fatalf("%d turns of %d", len(h.turns), len(h.asked.Turns))
	}
}

// tells is whether the client shows the cause of a failure. Vercel's SDK lets the application have
// only the message of an event of responses or messages.
func (h *held) tells(s seen, cause string) bool {
	if h.name == "vercel" && h.stream && h.dialect != "chat" {
		return s.Error != nil && s.Error.Message != ""
	}
	return strings.Contains(s.failed(), cause)
}

// Two turns of each stock client in each of its dialects, with the demo backend.
func TestConversation_Demo(t *testing.T) {
	d := daemon.Start(t, daemon.Options{})
	clients := openSDKs(t)
	each(t, clients.all(bothWays(stocks()...), func(way) conversation {
		return conversation{BaseURL: d.URL, Model: "demo", System: "be-brief", Turns: says("one two", "three four")}
	}), func(t *testing.T, h *held) {
		answered(t, h)
		if text := h.turns[0].Text; !strings.Contains(text, "one two") {
			t.Errorf("first turn: %q", text)
		}
		if text := h.turns[1].Text; !strings.Contains(text, "three four") {
			t.Errorf("second turn: %q", text)
		}
		if h.stream && h.turns[0].Deltas == 0 {
			t.Error("no delta")
		}
	})
}

// Two turns of each stock client with a real CLI, and of each dialect's leader with each
// of them, the first streamed and the second whole. In the first the CLI does something by
// itself, which the second sends back as history. The second knows the first, and has a
// picture, which reaches the model byte for byte.
func TestConversation(t *testing.T) {
	w := begin(t, "")
	clients := openSDKs(t)
	data := picture(t, 100)
	sum := sha256.Sum256(data)
	for _, cli := range six() {
		some := streamed(leaders()...)
		if cli == "claude" {
			some = streamed(slices.DeleteFunc(stocks(), func(c stock) bool { return c.helper })...)
		}
		t.Run(cli, func(t *testing.T) {
			warm(t, w, cli)
			each(t, clients.all(some, func(c way) conversation {
				turns := says(fmt.Sprintf("SCN=tool CMD{{echo done-%[1]s}} REMEMBER{{blue-%[1]s}}", mark(c)), "SCN=text RECALL SEES")
				turns[1].Stream, turns[1].Image = &c.helper, "data:image/png;base64,"+base64.StdEncoding.EncodeToString(data)
				return conversation{BaseURL: w.URL, Model: cli, Turns: turns}
			}), func(t *testing.T, h *held) {
				answered(t, h)
				if text := h.turns[0].Text; !strings.Contains(text, "tool-said: done-"+mark(h.way)) {
					t.Errorf("first turn: %q", text)
				}
				if text := h.turns[1].Text; !strings.Contains(text, "recalled: blue-"+mark(h.way)) || strings.Contains(text, "tool-said") {
					t.Errorf("second turn: %q", text)
				}
				if text := h.turns[1].Text; !strings.Contains(text, hex.EncodeToString(sum[:])) {
					t.Errorf("the picture: %q", text)
				}
				for i, s := range h.turns {
					if len(s.Usage) == 0 && h.dialect != "chat" {
						t.Errorf("turn %d: no usage", i+1)
					}
				}
				toolTold(t, h)
			})
		})
	}
	if err := w.WaitEmpty(grace); err != nil {
		t.Error(err)
	}
}

// mark is a word for a conversation of its own.
func mark(c way) string { return strings.NewReplacer("/", "-", " ", "-", "=", "-").Replace(c.String()) }

// toolTold wants what the CLI did by itself told as such: as an mcp_call of responses, as
// mcp_tool_use of messages. Chat has no place for it that all clients take.
func toolTold(t *testing.T, h *held) {
	t.Helper()
	if h.dialect == "chat" || h.name == "langchain" {
		return
	}
	tools := h.turns[0].Tools
	if len(tools) != 1 || tools[0].Name == "" || !strings.Contains(fmt.Sprint(tools[0].Input), "echo done-") {
		t.Fatalf("tools of the first turn: %+v", tools)
	}
	if !strings.Contains(fmt.Sprint(tools[0].Output), "done-") {
		t.Errorf("output of the tool: %+v", tools[0])
	}
}

// memories are the other ways in which a client of responses has the server know the turns before.
var memories = []struct {
	client stock
	memory string
}{
	{stock{"openai", "responses", false}, "previous_response_id"},
	{stock{"gosdk", "responses", false}, "previous_response_id"},
	{stock{"vercel", "responses", false}, "previous_response_id"},
	{stock{"vercel", "responses", false}, "text"},
	{stock{"langchain", "responses", false}, "previous_response_id"},
}

// A later turn names the response before, by its id, or sends its text: each time the
// CLI knows the conversation.
func TestConversation_ByID(t *testing.T) {
	w := begin(t, "")
	clients := openSDKs(t)
	var ways []way
	for _, m := range memories {
		ways = append(ways, way{m.client, true})
	}
	n := 0
	each(t, clients.all(ways, func(way) conversation {
		n++
		return conversation{BaseURL: w.URL, Model: "claude", Memory: memories[n-1].memory, Turns: says("SCN=text REMEMBER{{blue}}", "SCN=text RECALL")}
	}), func(t *testing.T, h *held) {
		answered(t, h)
		text := h.turns[1].Text
		if !strings.Contains(text, "recalled: blue") {
			t.Errorf("second turn: %q", text)
		}
		if h.asked.Memory == "previous_response_id" && !strings.Contains(text, "marked-user-turns=2") {
			t.Errorf("second turn: %q: want the CLI's own session", text)
		}
	})
}
