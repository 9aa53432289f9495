package conversation

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"strings"

	"penstock/run"
	"penstock/server/answer"
	"penstock/server/dialect"
)

// Chain is a conversation as far as it has come, by a hash of all its messages: two are equal
// where everything was said alike, and by the same person where the client tells people apart.
type Chain struct{ sum [sha256.Size]byte }

// ChainOf is the chain of a client's messages. What clients change of a text that they send
// again, white space around it and line ends, doesn't count.
func ChainOf(person string, messages []dialect.Message) Chain {
	c := Chain{sha256.Sum256([]byte("conversation\x00" + person))}
	var text strings.Builder
	answer := false // is being put together
	end := func() {
		if answer {
			c = c.and(dialect.Message{Role: dialect.Assistant, Text: text.String()})
		}
		text.Reset()
		answer = false
	}
	for _, m := range messages {
		switch {
		case isOfAnswer(m):
			answer = true
			text.WriteString(m.Text)
		case !m.Own:
			end()
			c = c.and(m)
		}
	}
	end()
	return c
}

// isOfAnswer tells the messages that clients make of one answer of an agent: its use of its own
// tools, which some leave out, parts its text.
func isOfAnswer(m dialect.Message) bool {
	return m.Role == dialect.Assistant && (m.Own || len(m.ToolCalls)+len(m.Parts) == 0 && m.Name == "" && m.ToolID == "" && m.Ref == "")
}

func (c Chain) and(m dialect.Message) Chain {
	h := sha256.New()
	h.Write(c.sum[:])
	parts := []string{m.Role, m.Name, canonical(m.Text), m.ToolID, m.Ref}
	for _, call := range m.ToolCalls {
		parts = append(parts, "call", call.ID, call.Name, call.Arguments)
	}
	for _, p := range m.Parts {
		parts = append(parts, "part", p.Type, p.Name, string(p.Data), p.Note)
	}
	for _, text := range parts {
		writePart(h, text)
	}
	return Chain{[sha256.Size]byte(h.Sum(nil))}
}

// writePart writes a text so that no two lists of them are written alike.
func writePart(h hash.Hash, text string) {
	n := len(text)
	h.Write([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	_, _ = io.WriteString(h, text) // a hash takes all
}

func canonical(text string) string {
	return strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))
}

// Key is what is kept of the chain.
func (c Chain) Key() run.Chain { return run.Chain(c.sum[:len(run.Chain{})]) }

// answerMax bounds the answers that a chain is made of, in bytes; longer ones aren't continued.
const answerMax = 4 << 20

// Answered is the chain when the run's answer has been said, too, or as much of it as there was
// when it failed; ok is false where it can't be made. It waits for nothing but the run's last word.
func (c Chain) Answered(ctx context.Context, r *run.Run) (_ Chain, ok bool) {
	text, ok := answer.Text(ctx, r, answerMax)
	if !ok {
		return c, false
	}
	return c.and(dialect.Message{Role: dialect.Assistant, Text: text}), true
}

// Split gives the messages up to the last answer among them, which a request repeats; found is
// false where there is none to go on from.
func Split(messages []dialect.Message) (before []dialect.Message, found bool) {
	for i := len(messages) - 1; i >= 0; i-- {
		if messages[i].Role == dialect.Assistant {
			return messages[:i+1], true
		}
	}
	return nil, false
}
