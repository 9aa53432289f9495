package openai

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"penstock/backend"
	"penstock/server/dialect"
	"penstock/server/web"
)

// counted is a reply that is written nowhere.
type counted struct {
	header  http.Header
	written int
}

func (c *counted) Header() http.Header { return c.header }
func (c *counted) WriteHeader(int)     {}
func (c *counted) FlushError() error   { return nil }

func (c *counted) Write(p []byte) (int, error) {
	c.written += len(p)
	return len(p), nil
}

func textStep(i int, text string) dialect.Step {
	seq := uint64(i + 1)
	return dialect.Step{Place: dialect.Place{Seq: seq, Last: true}, First: seq, Kind: backend.Text, Text: text}
}

// benchmarkText is what one delta costs.
func benchmarkText(b *testing.B, d dialect.Dialect, text string) {
	reply := &counted{header: http.Header{}}
	out := web.NewSSE(web.NewReply(reply), false)
	a := &dialect.Answer{Run: "run_01JQ2V5N8Z7Q4M3K9X6T1R0YHB", Model: "claude/opus", Backend: "claude", Received: time.Unix(1, 0), Created: time.Unix(1, 0), After: -1}
	s := d.Stream(&out, a, nil)
	if err := s.Open(false); err != nil {
		b.Fatal(err)
	}
	if err := s.Begin(); err != nil {
		b.Fatal(err)
	}
	if err := s.Step(textStep(0, text)); err != nil {
		b.Fatal(err)
	}
	reply.written = 0
	b.ReportAllocs()
	n := 1
	for b.Loop() {
		if err := s.Step(textStep(n, text)); err != nil {
			b.Fatal(err)
		}
		if err := out.Flush(); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(reply.written)/float64(n), "bytes/delta")
}

func BenchmarkText(b *testing.B) {
	for name, text := range map[string]string{
		"word": "word ", "line": "a line of code, or of an answer: \"fmt.Println(x)\"\n", "german": "größer als ", "many": strings.Repeat("a line of an answer, ", 200),
	} {
		b.Run(name+"/chat", func(b *testing.B) { benchmarkText(b, Chat{}, text) })
		b.Run(name+"/responses", func(b *testing.B) { benchmarkText(b, Responses{}, text) })
	}
}

// A text stands where the text belongs, whatever the model is called.
func TestText_OddModels(t *testing.T) {
	for _, model := range []string{"x", "delta", `"`, "\\u0000"} {
		for _, d := range []dialect.Dialect{Chat{}, Responses{}} {
			var reply recorder
			reply.header, reply.Buffer = http.Header{}, &bytes.Buffer{}
			out := web.NewSSE(web.NewReply(&reply), false)
			a := testAnswer()
			a.Model, a.Backend = model, model
			s := d.Stream(&out, a, nil)
			for _, err := range []error{s.Open(false), s.Begin(), s.Step(textStep(0, "said"))} {
				if err != nil {
					t.Fatal(err)
				}
			}
			quoted, err := web.Marshal(model)
			if err != nil {
				t.Fatal(err)
			}
			if got := reply.String(); !strings.Contains(got, `"model":`+string(quoted)+`,`) || !strings.Contains(got, `:"said"`) || strings.Contains(got, `"model":"said"`) {
				t.Errorf("%s", got)
			}
		}
	}
}

// One delta costs no more than one of a chat, in memory.
func TestText_Allocations(t *testing.T) {
	perDelta := func(d dialect.Dialect) float64 {
		out := web.NewSSE(web.NewReply(&counted{header: http.Header{}}), false)
		s := d.Stream(&out, testAnswer(), nil)
		for _, err := range []error{s.Open(false), s.Begin(), s.Step(textStep(0, "word "))} {
			if err != nil {
				t.Fatal(err)
			}
		}
		n := 1
		return testing.AllocsPerRun(1000, func() {
			if s.Step(textStep(n, "word ")) != nil || out.Flush() != nil {
				t.Fatal("not written")
			}
			n++
		})
	}
	if chat, responses := perDelta(Chat{}), perDelta(Responses{}); responses > chat {
		t.Errorf("%v allocations, of a chat %v", responses, chat)
	}
}
