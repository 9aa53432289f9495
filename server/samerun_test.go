package server

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/config"
)

// told is what a client is told of an answer, whatever the dialect.
type told struct {
	Text, Thought string
	Tools         []toldTool
	Input, Output int64 // tokens; 0 is not known
	Finish, Cause string
	Receipt       string // as JSON; "" is none
}

type toldTool struct{ Name, Input, Output, Status string }

// Each recording of each CLI, played by a program in its place: the same text, tools, usage,
// cause and receipt in every dialect, live, after its end, and asked for in each.
func TestDialects_SameRun(t *testing.T) {
	recordings, err := filepath.Glob(filepath.Join("..", "backend", "testdata", "*", "*.jsonl"))
	if err != nil || len(recordings) < 50 {
		t.Fatalf("%d recordings: %v", len(recordings), err)
	}
	dir := t.TempDir()
	s := serve(t, func(c *config.Config) {
		c.Budget.MaxRuns, c.Queue.MaxWaiting = 8, 64
		for _, path := range recordings {
			name := backendOf(path)
			c.Backends[name] = config.Backend{
				Name: name, Kind: filepath.Base(filepath.Dir(path)), Command: []string{player(t, dir, name, path)}, Configured: true, Limits: limitsOf(),
			}
		}
	})
	for _, path := range recordings {
		t.Run(backendOf(path), func(t *testing.T) {
			t.Parallel()
			sameRun(t, s, backendOf(path), filepath.Join(dir, backendOf(path)+".go"))
		})
	}
}

func backendOf(recording string) string {
	return filepath.Base(filepath.Dir(recording)) + "-" + strings.TrimSuffix(filepath.Base(recording), ".jsonl")
}

// player is a program that prints a recording, the second half of it once a file is there.
func player(t *testing.T, dir, name, recording string) string {
	t.Helper()
	recording, err := filepath.Abs(recording)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(recording)
	if err != nil {
		t.Fatal(err)
	}
	half := strings.Count(string(text), "\n") / 2
	script := fmt.Sprintf("#!/bin/sh\nhead -n %d %s\nuntil [ -e %s ]; do sleep 0.02; done\ntail -n +%d %s\n",
		half, recording, filepath.Join(dir, name+".go"), half+1, recording)
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

var dialectNames = []string{"chat", "responses", "messages"}

// requestOf asks for the same in each dialect.
func requestOf(dialect, model string, stream bool) (path, body string) {
	switch dialect {
	case "responses":
		return "/v1/responses", fmt.Sprintf(`{"model":%q,"input":"x","stream":%v}`, model, stream)
	case "messages":
		return "/v1/messages", fmt.Sprintf(`{"model":%q,"max_tokens":1,"messages":[{"role":"user","content":"x"}],"stream":%v}`, model, stream)
	}
	more := ""
	if stream {
		more = `,"stream_options":{"include_usage":true}`
	}
	return "/v1/chat/completions", chatBody(model, "x", stream, more)
}

func sameRun(t *testing.T, s *served, model, gate string) {
	type reading struct {
		how  string
		told told
		err  error
	}
	got := make(chan reading)
	path, body := requestOf("chat", model, true)
	resp, err := s.do(t.Context(), "POST", path, body)
	if err != nil {
		t.Fatal(err)
	}
	id := resp.Header.Get("X-Run-Id")
	go func() {
		defer resp.Body.Close()
		r, err := read(resp, nil)
		got <- reading{"chat, asked", toldOf(t, "chat", r), err}
	}()
	follow := func(how string) {
		for _, dialect := range dialectNames {
			go func() {
				r := s.ask("GET", "/v1/runs/"+id+"/events?as="+dialect, "")
				got <- reading{dialect + ", " + how, toldOf(t, dialect, r), nil}
			}()
		}
	}
	follow("live")
	time.Sleep(20 * time.Millisecond)
	if err := os.WriteFile(gate, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	first := <-got
	want := first.told
	compare := func(r reading) {
		t.Helper()
		if r.err != nil {
			t.Errorf("%s: %v", r.how, r.err)
		}
		if want.Cause == "text_voided" || (r.told.Receipt != "") == (want.Receipt != "") {
			// One that is told with the last word is of then; a contradiction has none before the run's end.
			r.told.Receipt = want.Receipt
		}
		if want.Cause != "completed" { // what a failed run has used its stream need not say
			r.told.Input, r.told.Output = want.Input, want.Output
		}
		if diff := cmp.Diff(want, r.told); diff != "" {
			t.Errorf("%s is told otherwise than %s (-want +got)\n%s", r.how, first.how, diff)
		}
	}
	for range len(dialectNames) {
		compare(<-got)
	}
	follow("ended")
	for range len(dialectNames) {
		compare(<-got)
	}
	for _, dialect := range dialectNames {
		for _, stream := range []bool{true, false} {
			path, body := requestOf(dialect, model, stream)
			r := reading{fmt.Sprintf("%s, asked for, stream %v", dialect, stream), toldOf(t, dialect, s.ask("POST", path, body)), nil}
			r.told.Receipt = want.Receipt               // of a run of its own
			if !stream && want.Cause == "text_voided" { // nothing was sent that would have to be taken back
				if r.told.Cause != "completed" {
					t.Errorf("%s: %+v", r.how, r.told)
				}
				continue
			}
			if !stream && want.Cause != "completed" {
				r.told.Text, r.told.Thought, r.told.Tools = want.Text, want.Thought, want.Tools // is shown to no client
			}
			compare(r)
		}
	}
}

// toldOf takes a reply apart, streamed or whole.
func toldOf(t *testing.T, dialect string, r result) told {
	var data []string
	if strings.HasPrefix(r.header.Get("Content-Type"), "text/event-stream") {
		for line := range strings.Lines(r.body) {
			if text, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "data: "); ok && text != "[DONE]" {
				data = append(data, text)
			}
		}
	} else {
		data = []string{r.body}
	}
	b := tellings{order: map[string]int{}}
	for _, one := range data {
		var err error
		switch dialect {
		case "chat":
			err = b.chat(one)
		case "responses":
			err = b.responses(one)
		default:
			err = b.messages(one)
		}
		if err != nil {
			t.Errorf("%s: %v: %s", dialect, err, one)
		}
	}
	if b.Cause == "" {
		b.Cause = "completed"
	}
	return b.told
}

// tellings gathers what frames say.
type tellings struct {
	told
	order map[string]int // tools by id
}

func (b *tellings) tool(id string) *toldTool {
	if id == "" {
		id = fmt.Sprint("#", len(b.Tools))
	}
	at, known := b.order[id]
	if !known {
		at = len(b.Tools)
		b.order[id] = at
		b.Tools = append(b.Tools, toldTool{Status: "started"})
	}
	return &b.Tools[at]
}

// failure takes an error's own words for the cause and the receipt.
func (b *tellings) failure(raw json.RawMessage) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var e struct {
		Cause   string          `json:"x_cause"`
		Receipt json.RawMessage `json:"x_receipt"`
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return err
	}
	if e.Cause != "" {
		b.Cause, b.Finish = e.Cause, ""
	}
	b.receipt(e.Receipt)
	return nil
}

func (b *tellings) receipt(raw json.RawMessage) {
	if len(raw) > 0 && string(raw) != "null" {
		b.Receipt = string(raw)
	}
}

func (b *tellings) chat(text string) error {
	type message struct {
		Content   string `json:"content"`
		Reasoning string `json:"reasoning_content"`
	}
	type tool struct{ ID, Name, Status, Input, Output string }
	var c struct {
		Choices []struct {
			Delta struct {
				message
				Tool *tool `json:"x_tool"`
			} `json:"delta"`
			Message struct {
				message
				Tools []tool `json:"x_tool"`
			} `json:"message"`
			Finish string `json:"finish_reason"`
		} `json:"choices"`
		Usage *struct {
			Input  int64 `json:"prompt_tokens"`
			Output int64 `json:"completion_tokens"`
		} `json:"usage"`
		Receipt json.RawMessage `json:"x_receipt"`
		Error   json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	add := func(one tool) {
		to := b.tool(one.ID)
		to.Name, to.Status = one.Name, one.Status
		if one.Input != "" { // told at the start, at the end, or at both
			to.Input = one.Input
		}
		to.Output += one.Output
	}
	for _, choice := range c.Choices {
		for _, m := range []message{choice.Delta.message, choice.Message.message} {
			b.Text += m.Content
			b.Thought += m.Reasoning
		}
		if choice.Delta.Tool != nil {
			add(*choice.Delta.Tool)
		}
		for _, one := range choice.Message.Tools {
			add(one)
		}
		if choice.Finish != "" && choice.Finish != "error" {
			b.Finish = choice.Finish
		}
	}
	if c.Usage != nil {
		b.Input, b.Output = c.Usage.Input, c.Usage.Output
	}
	b.receipt(c.Receipt)
	return b.failure(c.Error)
}

func (b *tellings) responses(text string) error {
	type item struct {
		Type, ID, Name, Arguments, Output, Status string
		Error                                     json.RawMessage
		Content, Summary                          []struct{ Text string }
	}
	type object struct {
		Object     string
		Output     []item
		Incomplete *struct{ Reason string } `json:"incomplete_details"`
		Usage      *struct {
			Input  int64 `json:"input_tokens"`
			Output int64 `json:"output_tokens"`
		}
		Status  string
		Receipt json.RawMessage `json:"x_receipt"`
		Error   json.RawMessage
		Cause   string `json:"x_cause"`
	}
	var e struct {
		Type, Delta string
		Item        item
		Response    *object
		Error       json.RawMessage
		Object      string
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return err
	}
	whole := func(o *object, output bool) {
		for _, one := range o.Output {
			if !output {
				break
			}
			for _, c := range one.Content {
				b.Text += c.Text
			}
			for _, c := range one.Summary {
				b.Thought += c.Text
			}
			if one.Type == "mcp_call" {
				b.mcpCall(one.ID, one.Name, one.Arguments, one.Output, one.Status, one.Error)
			}
		}
		if o.Usage != nil {
			b.Input, b.Output = o.Usage.Input, o.Usage.Output
		}
		b.receipt(o.Receipt)
		switch {
		case o.Cause != "":
			b.Cause = o.Cause
		case o.Incomplete != nil && o.Incomplete.Reason == "max_output_tokens":
			b.Finish = "length"
		case o.Incomplete != nil:
			b.Finish = o.Incomplete.Reason
		case o.Status == "completed":
			b.Finish = "stop"
		}
	}
	switch e.Type {
	case "response.output_text.delta":
		b.Text += e.Delta
	case "response.reasoning_summary_text.delta":
		b.Thought += e.Delta
	case "response.output_item.done":
		if e.Item.Type == "mcp_call" {
			b.mcpCall(e.Item.ID, e.Item.Name, e.Item.Arguments, e.Item.Output, e.Item.Status, e.Item.Error)
		}
	case "response.completed", "response.incomplete", "response.failed":
		whole(e.Response, false)
	case "error", "":
		if e.Object == "response" {
			var o object
			if err := json.Unmarshal([]byte(text), &o); err != nil {
				return err
			}
			whole(&o, true)
		}
		return b.failure(e.Error)
	}
	return nil
}

func (b *tellings) mcpCall(id, name, arguments, output, status string, failed json.RawMessage) {
	to := b.tool(id)
	to.Name, to.Input, to.Output, to.Status = name, unwrapped(arguments), output, "completed"
	if len(failed) > 0 && string(failed) != "null" {
		to.Status = "failed"
		var text string
		if json.Unmarshal(failed, &text) == nil {
			to.Output = text
		}
	}
	if status == "incomplete" {
		to.Status = "started"
	}
}

// unwrapped is an input that is no object, and therefore stands in one.
func unwrapped(arguments string) string {
	var text struct{ Input *string }
	if json.Unmarshal([]byte(arguments), &text) == nil && text.Input != nil {
		return *text.Input
	}
	return arguments
}

func (b *tellings) messages(text string) error {
	type block struct {
		Type, Text, Thinking, ID, Name string
		Use                            string `json:"tool_use_id"`
		Input                          json.RawMessage
		Failed                         bool `json:"is_error"`
		Content                        []struct{ Text string }
	}
	type usage struct {
		Input  int64 `json:"input_tokens"`
		Cached int64 `json:"cache_read_input_tokens"`
		Output int64 `json:"output_tokens"`
	}
	var e struct {
		Type    string
		Content []block
		Block   *block `json:"content_block"`
		Delta   struct {
			Text, Thinking string
			Stop           string `json:"stop_reason"`
		}
		Stop    string `json:"stop_reason"`
		Usage   *usage
		Receipt json.RawMessage `json:"x_receipt"`
		Error   json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return err
	}
	add := func(one block) {
		b.Text += one.Text
		b.Thought += one.Thinking
		switch one.Type {
		case "mcp_tool_use":
			to := b.tool(one.ID)
			to.Name, to.Input = one.Name, unwrapped(string(one.Input))
		case "mcp_tool_result":
			to := b.tool(one.Use)
			to.Status = "completed"
			if one.Failed {
				to.Status = "failed"
			}
			for _, c := range one.Content {
				to.Output += c.Text
			}
		}
	}
	for _, one := range e.Content {
		add(one)
	}
	if e.Block != nil {
		add(*e.Block)
	}
	b.Text += e.Delta.Text
	b.Thought += e.Delta.Thinking
	if stop := e.Delta.Stop + e.Stop; stop != "" {
		b.Finish = map[string]string{"end_turn": "stop", "max_tokens": "length", "refusal": "content_filter"}[stop]
	}
	if e.Usage != nil {
		b.Input, b.Output = e.Usage.Input+e.Usage.Cached, e.Usage.Output
	}
	b.receipt(e.Receipt)
	return b.failure(e.Error)
}
