// Command gosdk is the stock Go clients, openai-go and anthropic-sdk-go, for the
// end-to-end tests. What it reads and writes is what test/sdk/client.mjs says.
//
//	main.go       conversations, their turns, their reports
//	openai.go     chat completions and responses
//	anthropic.go  messages
//
// It has no part in the daemon: the SDKs are dependencies of the module test only.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

type request struct {
	ID          int               `json:"id"`
	BaseURL     string            `json:"baseURL"`
	APIKey      string            `json:"apiKey"`
	Dialect     string            `json:"dialect"`
	Model       string            `json:"model"`
	System      string            `json:"system"`
	Turns       []turn            `json:"turns"`
	Stream      bool              `json:"stream"`
	Memory      string            `json:"memory"`
	Schema      map[string]any    `json:"schema"`
	Extra       map[string]any    `json:"extra"`
	Headers     map[string]string `json:"headers"`
	MaxRetries  *int              `json:"max_retries"`
	AbortMillis int               `json:"abort_after_ms"`
	AbortDeltas int               `json:"abort_after_deltas"`
}

type turn struct {
	Text   string `json:"text"`
	Image  string `json:"image"` // a data URI
	Stream *bool  `json:"stream"`
}

// seen is what an application sees of one turn.
type seen struct {
	Text      string          `json:"text"`
	Reasoning string          `json:"reasoning"`
	Deltas    int             `json:"deltas"`
	SpreadMS  int64           `json:"spread_ms"`
	Tools     []tool          `json:"tools"`
	Finish    string          `json:"finish"`
	Usage     json.RawMessage `json:"usage"`
	ID        string          `json:"id"`
	Status    string          `json:"status"`
	Events    []string        `json:"events"`
	Numbers   []int64         `json:"numbers"`
	Requests  int64           `json:"requests"`
	Failure   json.RawMessage `json:"failure,omitempty"`
	Error     *failure        `json:"error"`

	first time.Time
	limit int
	leave context.CancelFunc
}

type tool struct {
	Name   string          `json:"name"`
	Input  json.RawMessage `json:"input"`
	Output json.RawMessage `json:"output"`
	Error  json.RawMessage `json:"error"`
}

type failure struct {
	Class   string `json:"class"`
	Status  int    `json:"status"`
	Code    any    `json:"code"`
	Type    string `json:"type"`
	Message string `json:"message"`
	Cause   string `json:"x_cause"`
}

func (s *seen) event(kind string) {
	if len(s.Events) == 0 || s.Events[len(s.Events)-1] != kind {
		s.Events = append(s.Events, kind)
	}
}

func (s *seen) delta(text string) {
	if text == "" {
		return
	}
	if s.Deltas == 0 {
		s.first = time.Now()
	}
	s.Text += text
	s.Deltas++
	s.SpreadMS = time.Since(s.first).Milliseconds()
	if s.Deltas == s.limit {
		s.leave()
	}
}

// fail keeps what an application can learn of err; body is that of an error reply, or
// the data of an error event, where the SDK has it.
func (s *seen) fail(class string, status int, body string, err error) {
	s.Error = &failure{Class: class, Status: status, Message: err.Error()}
	var reply struct {
		failure
		Error *failure `json:"error"`
	}
	if json.Unmarshal([]byte(body), &reply) != nil {
		return
	}
	told := reply.failure
	if reply.Error != nil {
		told = *reply.Error
	}
	s.Error.Code, s.Error.Type, s.Error.Cause = told.Code, told.Type, told.Cause
	if told.Message != "" {
		s.Error.Message = told.Message
	}
	if s.Error.Cause == "" {
		s.Error.Cause = reply.Cause
	}
}

// raw is JSON as the SDK has it; it has "" for what was not there.
func raw(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	return json.RawMessage(text)
}

// client asks one turn of its conversation.
type client func(ctx context.Context, t turn, s *seen) error

// counting counts the requests that the SDK makes, those that it repeats too.
type counting struct{ n atomic.Int64 }

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return http.DefaultTransport.RoundTrip(r)
}

func main() {
	os.Exit(run(os.Stdin, os.Stdout, os.Stderr))
}

func run(stdin io.Reader, stdout, stderr io.Writer) int {
	var held sync.WaitGroup
	var mu sync.Mutex
	out := json.NewEncoder(stdout)
	in := json.NewDecoder(stdin)
	for {
		r := request{APIKey: "none", Stream: true}
		switch err := in.Decode(&r); {
		case errors.Is(err, io.EOF):
			held.Wait()
			return 0
		case err != nil:
			fmt.Fprintln(stderr, "gosdk: read a conversation:", err)
			return 2
		}
		open := map[string]func(*request, *http.Client) client{"chat": chat, "responses": byResponses, "messages": messages}[r.Dialect]
		if open == nil {
			fmt.Fprintf(stderr, "gosdk: dialect %q: unknown: chat, responses or messages\n", r.Dialect)
			return 2
		}
		held.Go(func() {
			requests := new(counting)
			turns := converse(&r, open(&r, &http.Client{Transport: requests}), requests)
			mu.Lock()
			defer mu.Unlock()
			if err := out.Encode(map[string]any{"id": r.ID, "turns": turns}); err != nil {
				fmt.Fprintln(stderr, "gosdk: write a report:", err)
			}
		})
	}
}

func converse(r *request, ask client, requests *counting) []*seen {
	var turns []*seen
	for _, t := range r.Turns {
		ctx, leave := context.WithCancel(context.Background())
		if r.AbortMillis > 0 {
			time.AfterFunc(time.Duration(r.AbortMillis)*time.Millisecond, leave)
		}
		s := &seen{limit: r.AbortDeltas, leave: leave, Tools: []tool{}, Events: []string{}, Numbers: []int64{}}
		if t.Stream == nil {
			t.Stream = &r.Stream
		}
		before := requests.n.Load()
		err := ask(ctx, t, s)
		switch {
		case ctx.Err() != nil:
			s.Error = &failure{Class: "left", Message: fmt.Sprint(err)}
		case err != nil && s.Error == nil:
			s.fail(fmt.Sprintf("%T", err), 0, "", err)
		}
		leave()
		s.Requests = requests.n.Load() - before
		turns = append(turns, s)
		if s.Error != nil {
			break
		}
	}
	return turns
}
