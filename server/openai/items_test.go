package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"penstock/backend"
	"penstock/server/dialect"
	"penstock/server/web"
)

// script is an answer that is made while it is read.
type script struct {
	n    int
	step func(i int) dialect.Step
	read int // steps, by all readings
}

type scriptReading struct {
	*script
	i int
}

func (s *script) steps() dialect.Reading { return &scriptReading{script: s} }

func (r *scriptReading) Next() (dialect.Step, bool, error) {
	if r.i == r.n {
		return dialect.Step{}, false, nil
	}
	r.i++
	r.read++
	return r.at(r.i - 1), true, nil
}

// at is a step with its place.
func (s *script) at(i int) dialect.Step {
	step := s.step(i)
	step.Seq, step.First, step.Last = uint64(i+1), uint64(i+1), true
	return step
}

func said(text string) dialect.Step { return dialect.Step{Kind: backend.Text, Text: text} }

func called(t backend.Tool) dialect.Step { return dialect.Step{Kind: backend.ToolUse, Tool: &t} }

func scripted(steps []dialect.Step) *script {
	return &script{n: len(steps), step: func(i int) dialect.Step { return steps[i] }}
}

func testAnswer() *dialect.Answer {
	return &dialect.Answer{Run: "run_1", Model: "claude/opus", Backend: "claude", Received: time.Unix(1, 0), After: -1}
}

// stream writes the whole stream of the answer.
func (s *script) stream(w http.ResponseWriter, e dialect.End) error {
	out := web.NewSSE(web.NewReply(w), false)
	to := Responses{}.Stream(&out, testAnswer(), s.steps)
	if err := to.Open(false); err != nil {
		return err
	}
	if err := to.Begin(); err != nil {
		return err
	}
	for i := range s.n {
		if err := to.Step(s.at(i)); err != nil {
			return err
		}
	}
	e.Seq = uint64(s.n)
	return to.End(e)
}

// weighed is a reply that is written nowhere, and knows the most that was alive meanwhile.
type weighed struct {
	counted
	weighedAt int
	most      uint64
}

func (w *weighed) Write(p []byte) (int, error) {
	if w.written-w.weighedAt > 4<<20 {
		w.weighedAt = w.written
		w.most = max(w.most, alive())
	}
	return w.counted.Write(p)
}

func alive() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A long answer of many items passes through and stays nowhere, and what is told of it again
// is read a few times, however many items there are.
func TestResponses_LongAnswers(t *testing.T) {
	fill := func(i, n int) string { return strings.Repeat(string(rune('a'+i%26)), n) } // a fresh copy, as from the spool
	for name, row := range map[string]struct {
		script script
		most   int // readings of all steps
	}{
		"long texts and calls": {script{n: 5400, step: func(i int) dialect.Step {
			switch i % 27 {
			case 25:
				return called(backend.Tool{ID: fmt.Sprint(i), Name: "f", Status: "started", Input: "{}"})
			case 26:
				return called(backend.Tool{ID: fmt.Sprint(i - 1), Name: "f", Status: "completed", Output: fill(i, 8<<10)})
			}
			return said(fill(i, 8<<10))
		}}, 5},
		"thousands of short items": {script{n: 60_000, step: func(i int) dialect.Step {
			if i%2 == 0 {
				return said(fill(i, 100))
			}
			return called(backend.Tool{ID: fmt.Sprint(i), Name: "f", Status: "completed", Output: fill(i, 900)})
		}}, 1},
		"a call around them all": {script{n: 2_000, step: func(i int) dialect.Step {
			switch {
			case i == 0:
				return called(backend.Tool{ID: "all", Name: "task", Status: "started"})
			case i == 1_999:
				return called(backend.Tool{ID: "all", Name: "task", Status: "completed", Output: "x"})
			case i%2 == 1:
				return called(backend.Tool{ID: fmt.Sprint(i), Name: "f", Status: "started"})
			}
			return called(backend.Tool{ID: fmt.Sprint(i - 1), Name: "f", Status: "completed", Output: fill(i, 8<<10)})
		}}, 3},
		"calls that overlap texts": {script{n: 4_000, step: func(i int) dialect.Step {
			switch i % 20 {
			case 0:
				return called(backend.Tool{ID: fmt.Sprint(i), Name: "f", Status: "started"})
			case 19:
				return called(backend.Tool{ID: fmt.Sprint(i - 19), Name: "f", Status: "completed", Output: fill(i, 100)})
			}
			return said(fill(i, 8<<10))
		}}, 5},
		"all at once, ended in reverse": {script{n: 6_000, step: func(i int) dialect.Step {
			group, at := i/60, i%60
			if at < 30 {
				return called(backend.Tool{ID: fmt.Sprint(group, ":", at), Name: "f", Status: "started"})
			}
			return called(backend.Tool{ID: fmt.Sprint(group, ":", 59-at), Name: "f", Status: "completed", Output: fill(i, 1<<10)})
		}}, 3},
		"all at once and long, ended in reverse": {script{n: 6_000, step: func(i int) dialect.Step {
			group, at := i/60, i%60
			if at < 30 {
				return called(backend.Tool{ID: fmt.Sprint(group, ":", at), Name: "f", Status: "started"})
			}
			return called(backend.Tool{ID: fmt.Sprint(group, ":", 59-at), Name: "f", Status: "completed", Output: fill(i, 15<<10)})
		}}, 8},
		"one text": {script{n: 4_000, step: func(i int) dialect.Step { return said(fill(i, 8<<10)) }}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			before := alive()
			w := &weighed{counted: counted{header: http.Header{}}}
			if err := row.script.stream(w, dialect.End{Finish: "stop"}); err != nil {
				t.Fatal(err)
			}
			held := int64(w.most) - int64(before)
			t.Logf("%d bytes written, %d held, %d of %d steps read again", w.written, held, row.script.read, row.script.n)
			if held > 2<<20 {
				t.Errorf("%d bytes held for %d", held, w.written)
			}
			if row.script.read > row.most*row.script.n+100 {
				t.Errorf("%d steps read again, of %d", row.script.read, row.script.n)
			}
		})
	}
}

// Whatever is called, ended, ended twice or never: what the whole answer says of each item is
// what the stream has said at its end.
func TestResponses_WholeIsAsStreamed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var steps []dialect.Step
		status := rapid.SampledFrom([]string{"started", "started", "completed", "failed"})
		size := rapid.SampledFrom([]int{0, 1, 10 << 10})
		ids := rapid.IntRange(0, rapid.SampledFrom([]int{3, 60}).Draw(t, "ids"))
		for range rapid.IntRange(0, 150).Draw(t, "steps") {
			if rapid.IntRange(0, 4).Draw(t, "kind") == 0 {
				steps = append(steps, said(strings.Repeat("x", 1+size.Draw(t, "size"))))
				continue
			}
			one := backend.Tool{Name: "f", Status: status.Draw(t, "status"), Input: rapid.SampledFrom([]string{"", "{}"}).Draw(t, "input"), Output: strings.Repeat("y", size.Draw(t, "size"))}
			if id := ids.Draw(t, "id"); id > 0 {
				one.ID = fmt.Sprint(id)
			}
			steps = append(steps, called(one))
		}
		var stream struct {
			counted
			bytes.Buffer
		}
		s, e := scripted(steps), dialect.End{Finish: rapid.SampledFrom([]string{"stop", "length"}).Draw(t, "finish")}
		stream.header = http.Header{}
		if err := s.stream(&recorder{stream.header, &stream.Buffer}, e); err != nil {
			t.Fatal(err)
		}
		done := map[int]json.RawMessage{}
		var final json.RawMessage
		for line := range strings.Lines(stream.String()) {
			data, ok := strings.CutPrefix(line, "data: ")
			if !ok {
				continue
			}
			var event struct {
				Type     string
				Index    int `json:"output_index"`
				Item     json.RawMessage
				Response json.RawMessage
			}
			if err := json.Unmarshal([]byte(data), &event); err != nil {
				t.Fatal(err)
			}
			if event.Type == eventItemDone {
				done[event.Index] = event.Item
			}
			final = event.Response
		}
		var whole bytes.Buffer
		e.Seq = uint64(len(steps))
		if err := (Responses{}).Whole(testAnswer()).Write(&whole, e, dialect.Contents{}, s.steps); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(whole.String()); got != string(final) {
			t.Fatalf("the whole answer is not the stream's:\n%s\n%s", got, final)
		}
		var r struct{ Output []json.RawMessage }
		if err := json.Unmarshal(final, &r); err != nil || len(r.Output) != len(done) {
			t.Fatalf("%d items, %d done: %v", len(r.Output), len(done), err)
		}
		for i, item := range r.Output {
			if !bytes.Equal(item, done[i]) {
				t.Fatalf("item %d: %s, told as %s", i, item, done[i])
			}
		}
	})
}

// A client that looks for a message finds one, and does not ask again.
func TestResponses_WithoutText(t *testing.T) {
	for name, steps := range map[string][]dialect.Step{
		"nothing": nil, "thinking": {{Kind: backend.Reasoning, Text: "hm"}}, "a tool": {called(tool("1", "started")), called(tool("1", "completed"))},
		"a tool that never ends": {called(tool("1", "started"))}, "a text": {said("x"), called(tool("1", "completed"))},
	} {
		var whole bytes.Buffer
		if err := (Responses{}).Whole(testAnswer()).Write(&whole, dialect.End{Seq: 9, Finish: "stop"}, dialect.Contents{}, scripted(steps).steps); err != nil {
			t.Fatal(err)
		}
		var r struct {
			Status string
			Output []struct {
				Type, Status string
				Content      []struct{ Text *string }
			}
		}
		if err := json.Unmarshal(whole.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		messages := 0
		for _, item := range r.Output {
			if item.Type == "message" && item.Status == "completed" && len(item.Content) == 1 && item.Content[0].Text != nil {
				messages++
			}
		}
		if messages != 1 || r.Status != "completed" {
			t.Errorf("%s: %d messages in %s", name, messages, whole.Bytes())
		}
	}
}

type recorder struct {
	header http.Header
	*bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(int)     {}

func tool(id, status string) backend.Tool {
	t := backend.Tool{ID: id, Name: "f", Status: status}
	if status != "started" {
		t.Output = "out"
	}
	return t
}
