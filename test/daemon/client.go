package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Error is the OpenAI error object.
type Error struct {
	Message string         `json:"message"`
	Type    string         `json:"type"`
	Code    string         `json:"code"`
	Param   string         `json:"param"`
	RunID   string         `json:"run_id"`
	Receipt map[string]any `json:"receipt"`
}

// Answer is what one chat completion gave, streamed or not.
type Answer struct {
	Status    int
	Header    http.Header
	Run       string // X-Run-Id
	Text      string
	Reasoning string
	Finish    string
	Usage     map[string]any
	Receipt   map[string]any
	Error     *Error
	Done      bool          // [DONE] seen
	Deltas    int           // chunks with text
	First     time.Duration // to the first text
	Spread    time.Duration // from the first text to the last
	Finished  time.Time     // when the finish chunk or error arrived
	Comments  []string
	Frames    []string // raw data frames
	IDs       []string // of the events, in order

	text *strings.Builder // of Text: a hundred thousand deltas must not be copied a hundred thousand times
}

type chunk struct {
	Choices []struct {
		Delta struct {
			Content   string `json:"content"`
			Reasoning string `json:"reasoning_content"`
		} `json:"delta"`
		Message struct {
			Content   string `json:"content"`
			Reasoning string `json:"reasoning_content"`
		} `json:"message"`
		Finish string `json:"finish_reason"`
	} `json:"choices"`
	Usage   map[string]any `json:"usage"`
	Receipt map[string]any `json:"x_receipt"`
	Error   *Error         `json:"error"`
}

// Body is a chat request with one user message; extra fields are merged in.
func Body(model, prompt string, extra map[string]any) map[string]any {
	b := map[string]any{"model": model, "messages": []map[string]any{{"role": "user", "content": prompt}}}
	for k, v := range extra {
		b[k] = v
	}
	return b
}

// Request builds the POST; it is sent by the caller.
func (d *Daemon) Request(ctx context.Context, body any) *http.Request {
	raw, err := json.Marshal(body)
	if err != nil {
		d.tb.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, "POST", d.URL+"/v1/chat/completions", bytes.NewReader(raw))
	if err != nil {
		d.tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return req
}

// Chat asks and reads the whole answer; on is told of each text delta, and may be nil.
func (d *Daemon) Chat(ctx context.Context, body map[string]any, on func(a *Answer)) (*Answer, error) {
	return Read(d.Request(ctx, body), on)
}

// Durable asks under a name of its own; on is told of each delta.
func (d *Daemon) Durable(ctx context.Context, id, after string, body map[string]any, on func(*Answer)) (*Answer, error) {
	req := d.Request(ctx, body)
	req.Header.Set("X-Run-Id", id)
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	return Read(req, on)
}

// Transport carries what Read sends. A package's TestMain may put a check in
// front of it.
var Transport http.RoundTripper = &http.Transport{DisableKeepAlives: true}

// Read sends req and reads the answer to its end.
func Read(req *http.Request, on func(a *Answer)) (*Answer, error) {
	return ReadWith(&http.Client{Transport: Transport}, req, on)
}

// ReadWith is Read with a client of the caller's.
func ReadWith(client *http.Client, req *http.Request, on func(a *Answer)) (*Answer, error) {
	begun := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &Answer{Status: resp.StatusCode, Header: resp.Header, Run: resp.Header.Get("X-Run-Id")}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return a, a.whole(resp.Body)
	}
	lines := bufio.NewReaderSize(resp.Body, 1<<20)
	var last time.Time
	var event struct{ id, data string }
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			if err == io.EOF {
				return a, nil
			}
			return a, err
		}
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, ":") {
			a.Comments = append(a.Comments, strings.TrimSpace(line[1:]))
			continue
		}
		// An event counts when its blank line is there, as for every decoder.
		if line != "" {
			if id, ok := strings.CutPrefix(line, "id: "); ok {
				event.id = id
			} else if data, ok := strings.CutPrefix(line, "data: "); ok {
				event.data = data
			}
			continue
		}
		id, data := event.id, event.data
		event.id, event.data = "", ""
		if data == "" {
			continue
		}
		if id != "" {
			a.IDs = append(a.IDs, id)
		}
		a.Frames = append(a.Frames, data)
		if data == "[DONE]" {
			a.Done = true
			continue
		}
		before := len(a.Text)
		if err := a.add([]byte(data)); err != nil {
			return a, err
		}
		if len(a.Text) > before {
			a.Deltas++
			now := time.Now()
			if a.First == 0 {
				a.First, last = now.Sub(begun), now
			}
			a.Spread += now.Sub(last)
			last = now
			if on != nil {
				on(a)
			}
		}
	}
}

func (a *Answer) add(data []byte) error {
	var c chunk
	if err := json.Unmarshal(data, &c); err != nil {
		return fmt.Errorf("frame %q: %w", data, err)
	}
	for _, choice := range c.Choices {
		if more := choice.Delta.Content + choice.Message.Content; more != "" {
			if a.text == nil {
				a.text = new(strings.Builder)
			}
			a.text.WriteString(more)
			a.Text = a.text.String()
		}
		a.Reasoning += choice.Delta.Reasoning + choice.Message.Reasoning
		if choice.Finish != "" {
			a.Finish, a.Finished = choice.Finish, time.Now()
		}
	}
	if c.Error != nil {
		a.Error, a.Finished = c.Error, time.Now()
	}
	if c.Usage != nil {
		a.Usage = c.Usage
	}
	if c.Receipt != nil {
		a.Receipt = c.Receipt
	}
	return nil
}

func (a *Answer) whole(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	a.Finished = time.Now()
	a.Frames = []string{string(raw)}
	return a.add(raw)
}

// Code is the error's code, "" without one.
func (a *Answer) Code() string {
	if a.Error == nil {
		return ""
	}
	return a.Error.Code
}

// Get decodes a JSON route.
func (d *Daemon) Get(path string) (int, map[string]any, error) {
	resp, err := http.Get(d.URL + path)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	var v map[string]any
	err = json.NewDecoder(resp.Body).Decode(&v)
	return resp.StatusCode, v, err
}

// Metric is the sum of one metric's samples whose labels contain all of with.
func (d *Daemon) Metric(name string, with ...string) float64 {
	resp, err := http.Get(d.URL + "/metrics")
	if err != nil {
		d.tb.Fatal(err)
	}
	defer resp.Body.Close()
	var sum float64
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
next:
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || (rest[0] != '{' && rest[0] != ' ') {
			continue
		}
		for _, w := range with {
			if !strings.Contains(rest, w) {
				continue next
			}
		}
		var v float64
		if _, err := fmt.Sscan(rest[strings.LastIndexByte(rest, ' ')+1:], &v); err != nil {
			d.tb.Fatalf("metric %q: %v", lines.Text(), err)
		}
		sum += v
	}
	return sum
}

// freePort is one below those that the kernel gives to connections: while a
// daemon is away, a client that connects to its port could be given that very
// port, and would be connected with itself.
func freePort(tb testing.TB) int {
	tb.Helper()
	const lowest, most, tries = 10000, 32768, 200
	for range tries {
		port := lowest + rand.IntN(most-lowest)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			l.Close()
			return port
		}
	}
	tb.Fatal("no port of 127.0.0.1 is free")
	return 0
}

// Post sends a JSON body.
func Post(url, body string) (*http.Response, error) {
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp, resp.Body.Close()
}
