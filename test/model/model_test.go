package model

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// client builds the requests of one protocol and reads its streamed answers.
type client struct {
	name  string
	auth  string
	path  func(stream bool) string
	body  func(stream bool, turns []turn, tool bool) any
	delta func(ev map[string]any) (text, thought, call string)
	// ended and failed recognise the last event of a whole and of a failed answer.
	ended  func(line string) bool
	failed func(line string) bool
}

func clients() []client {
	return []client{anthropicClient(), responsesClient(), chatClient(), geminiClient()}
}

func at(v any, path ...any) any {
	for _, p := range path {
		switch k := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[k]
		case int:
			l, _ := v.([]any)
			if k >= len(l) {
				return nil
			}
			v = l[k]
		}
	}
	return v
}

func str(v any, path ...any) string { s, _ := at(v, path...).(string); return s }

// answered is what a client got.
type answered struct {
	status  int
	header  http.Header
	lines   []string
	text    string
	thought string
	call    string
	raw     string
	err     error
}

func ask(t *testing.T, s *Server, c client, stream bool, tool bool, turns ...turn) answered {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return askContext(t, ctx, s, c, stream, tool, turns...)
}

func askContext(t *testing.T, ctx context.Context, s *Server, c client, stream, tool bool, turns ...turn) answered {
	t.Helper()
	body, err := json.Marshal(c.body(stream, turns, tool))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL()+c.path(stream), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(c.auth, "fake")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answered{err: err}
	}
	defer res.Body.Close()
	a := answered{status: res.StatusCode, header: res.Header}
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		raw, err := io.ReadAll(res.Body)
		a.raw, a.err = string(raw), err
		return a
	}
	in := bufio.NewScanner(res.Body)
	for in.Scan() {
		data, ok := strings.CutPrefix(in.Text(), "data: ")
		if !ok {
			continue
		}
		a.lines = append(a.lines, data)
		var ev map[string]any
		if json.Unmarshal([]byte(data), &ev) == nil {
			text, thought, call := c.delta(ev)
			a.text += text
			a.thought += thought
			a.call += call
		}
	}
	a.err = in.Err()
	return a
}

func user(text string) turn      { return turn{kind: userTurn, text: text} }
func assistant(text string) turn { return turn{kind: assistantTurn, text: text} }
func result(text string) turn    { return turn{kind: toolTurn, text: text} }

func eachClient(t *testing.T, f func(t *testing.T, s *Server, c client)) {
	for _, c := range clients() {
		t.Run(c.name, func(t *testing.T) { f(t, ForTest(t), c) })
	}
}

func TestTextStreams(t *testing.T) {
	eachClient(t, func(t *testing.T, s *Server, c client) {
		a := ask(t, s, c, true, false, user("<reminder>N=9</reminder>"), user("SCN=text N=3 SAY{{hi there}}"))
		want := "tok0 tok1 tok2 hi there marked-user-turns=1"
		if a.text != want || a.err != nil {
			t.Errorf("text = %q, %v, want %q", a.text, a.err, want)
		}
		if last := a.lines[len(a.lines)-1]; !c.ended(last) {
			t.Errorf("last event %s does not end the answer", last)
		}
		r := s.Requests()[0]
		if r.LastUser != "SCN=text N=3 SAY{{hi there}}" || r.UserTurns != 1 || r.UserTexts != 2 || !r.Stream {
			t.Errorf("request logged as %+v", r)
		}
		if !strings.EqualFold(r.AuthHeader, c.auth) || r.Auth != "fake" || r.Model != "fake-model" {
			t.Errorf("credential %q %q, model %q", r.AuthHeader, r.Auth, r.Model)
		}
	})
}

func TestTextWhole(t *testing.T) {
	eachClient(t, func(t *testing.T, s *Server, c client) {
		a := ask(t, s, c, false, false, user("SCN=think N=2"))
		for _, want := range []string{"tok0 tok1 marked-user-turns=1", "thought0 thought1", "120"} {
			if c.name == "anthropic" && want == "120" {
				want = "100"
			}
			if a.status != http.StatusOK || !strings.Contains(a.raw, want) {
				t.Errorf("answer %d %s lacks %q", a.status, a.raw, want)
			}
		}
	})
}

func TestThinking(t *testing.T) {
	eachClient(t, func(t *testing.T, s *Server, c client) {
		a := ask(t, s, c, true, false, user("SCN=think N=2"))
		if a.thought != "thought0 thought1 " || a.text != "tok0 tok1 marked-user-turns=1" {
			t.Errorf("thought %q, text %q", a.thought, a.text)
		}
	})
}

func TestRecall(t *testing.T) {
	eachClient(t, func(t *testing.T, s *Server, c client) {
		a := ask(t, s, c, true, false, user("SCN=text N=1 REMEMBER{{plum}}"), assistant("tok0"), user("N=1 RECALL"))
		if want := "tok0 recalled: plum marked-user-turns=2"; a.text != want {
			t.Errorf("text = %q, want %q", a.text, want)
		}
	})
}

func TestToolCallAndResult(t *testing.T) {
	eachClient(t, func(t *testing.T, s *Server, c client) {
		prompt := user("SCN=tool N=1 CMD{{echo a; echo b}}")
		for _, stream := range []bool{true, false} {
			a := ask(t, s, c, stream, true, prompt)
			got := a.call
			if !stream {
				got = a.raw
			}
			if !strings.Contains(got, "echo a; echo b") || a.text != "" {
				t.Errorf("stream %t: call %q, text %q", stream, got, a.text)
			}
		}
		a := ask(t, s, c, true, true, prompt, result("a\nb"), user("<reminder>be brief</reminder>"))
		if want := "tok0 tool-said: a marked-user-turns=1"; a.text != want || a.call != "" {
			t.Errorf("after the result: text %q, call %q, want %q", a.text, a.call, want)
		}
	})
}

// The result of an earlier turn's tool must not pass for that of this turn's.
func TestToolCalledAgainInNextTurn(t *testing.T) {
	eachClient(t, func(t *testing.T, s *Server, c client) {
		a := ask(t, s, c, true, true, user("SCN=tool CMD{{echo a}}"), result("a"),
			assistant("tool-said: a"), user("SCN=tool CMD{{echo again}}"))
		if !strings.Contains(a.call, "echo again") || a.text != "" {
			t.Errorf("call %q, text %q, want a call of echo again", a.call, a.text)
		}
	})
}

func TestErrorStatus(t *testing.T) {
	eachClient(t, func(t *testing.T, s *Server, c client) {
		for _, status := range []int{400, 401, 403, 404, 429, 500, 503, 529} {
			a := ask(t, s, c, true, false, user(fmt.Sprintf("SCN=e%d", status)))
			var body map[string]any
			if err := json.Unmarshal([]byte(a.raw), &body); err != nil || a.status != status {
				t.Errorf("status %d, body %q: %v", a.status, a.raw, err)
			}
			if want := fmt.Sprintf("scripted error %d", status); str(body, "error", "message") != want {
				t.Errorf("message of %s, want %q", a.raw, want)
			}
			after := a.header.Get("Retry-After") != ""
			if want := status == 429 || status == 503 || status == 529; after != want {
				t.Errorf("status %d: Retry-After %t, want %t", status, after, want)
			}
		}
		wantOutcome(t, s, Refused)
	})
}

// wantOutcome waits, for the log is written after the answer.
func wantOutcome(t *testing.T, s *Server, want Outcome) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := s.Wait(ctx, func(r Request) bool { return r.Outcome == want }); err != nil {
		t.Errorf("outcome %q: %v, log %+v", want, err, s.Requests())
	}
}

func TestEmpty(t *testing.T) {
	eachClient(t, func(t *testing.T, s *Server, c client) {
		a := ask(t, s, c, true, false, user("SCN=empty"))
		if a.text != "" || len(a.lines) == 0 || !c.ended(a.lines[len(a.lines)-1]) {
			t.Errorf("text %q, events %q", a.text, a.lines)
		}
	})
}

func TestErrorInStream(t *testing.T) {
	eachClient(t, func(t *testing.T, s *Server, c client) {
		a := ask(t, s, c, true, false, user("SCN=mid N=2"))
		last := a.lines[len(a.lines)-1]
		if a.text != "tok0 tok1 " || !c.failed(last) || a.err != nil {
			t.Errorf("text %q, last event %s, %v", a.text, last, a.err)
		}
	})
}

func TestReset(t *testing.T) {
	eachClient(t, func(t *testing.T, s *Server, c client) {
		a := ask(t, s, c, true, false, user("SCN=abrupt N=2"))
		if a.text != "tok0 tok1 " || !errors.Is(a.err, syscall.ECONNRESET) {
			t.Errorf("text %q, error %v, want a reset", a.text, a.err)
		}
		wantOutcome(t, s, Broken)
	})
}

func TestVoidThenWhole(t *testing.T) {
	eachClient(t, func(t *testing.T, s *Server, c client) {
		for range 2 { // the same text may be used again later
			a := ask(t, s, c, true, false, user("SCN=void N=2"))
			if a.text != "void0 void1 " || c.ended(a.lines[len(a.lines)-1]) {
				t.Errorf("first: text %q, events %q", a.text, a.lines)
			}
			a = ask(t, s, c, true, false, user("SCN=void N=2"))
			if want := "tok0 tok1 marked-user-turns=1"; a.text != want || a.err != nil {
				t.Errorf("second: text %q, %v, want %q", a.text, a.err, want)
			}
		}
	})
}

func TestVoidBreakChosen(t *testing.T) {
	eachClient(t, func(t *testing.T, s *Server, c client) {
		a := ask(t, s, c, true, false, user("SCN=void BREAK=event"))
		if a.err != nil || !c.failed(a.lines[len(a.lines)-1]) {
			t.Errorf("BREAK=event: %v, %q", a.err, a.lines)
		}
		a = ask(t, s, c, true, false, user("SCN=void BREAK=reset"))
		if !errors.Is(a.err, syscall.ECONNRESET) {
			t.Errorf("BREAK=reset: %v, want a reset", a.err)
		}
	})
}

func TestHangEndsWithClient(t *testing.T) {
	eachClient(t, func(t *testing.T, s *Server, c client) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan answered)
		go func() { done <- askContext(t, ctx, s, c, true, false, user("SCN=hang N=1")) }()
		wait, stop := context.WithTimeout(t.Context(), 5*time.Second)
		defer stop()
		if _, err := s.Wait(wait, func(r Request) bool { return r.Scenario == "hang" }); err != nil {
			t.Fatal(err)
		}
		cancel()
		<-done
		if _, err := s.Wait(wait, func(r Request) bool { return r.Outcome == Gone }); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseEndsHang(t *testing.T) {
	s := ForTest(t)
	c := chatClient()
	done := make(chan answered)
	go func() { done <- ask(t, s, c, true, false, user("SCN=hang")) }()
	wait, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	if _, err := s.Wait(wait, func(r Request) bool { return r.Scenario == "hang" }); err != nil {
		t.Fatal(err)
	}
	s.Close()
	<-done
}

func TestDelayPacesDeltas(t *testing.T) {
	s := ForTest(t)
	start := time.Now()
	ask(t, s, chatClient(), true, false, user("SCN=text N=3 DELAY=20"))
	if d := time.Since(start); d < 60*time.Millisecond {
		t.Errorf("three deltas 20 ms apart took %v", d)
	}
}

func TestSideRequests(t *testing.T) {
	s := ForTest(t)
	for _, c := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"GET", "/v1/models", 200, "fake-model"},
		{"HEAD", "/", 200, ""},
		{"POST", "/v1/messages/count_tokens", 200, `"input_tokens":120`},
		{"POST", "/v1/unknown", 404, "no such path"},
		{"POST", "/v1/chat/completions", 400, "chat completions"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, s.URL()+c.path, strings.NewReader("not json"))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != c.status || !strings.Contains(string(raw), c.want) {
			t.Errorf("%s %s: %d %s, want %d with %q", c.method, c.path, res.StatusCode, raw, c.status, c.want)
		}
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d side requests were logged as model requests", n)
	}
}
