package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/config"
	"penstock/internal/imagetest"
	"penstock/server/health"
	"penstock/server/openai"
	"penstock/server/web"
)

func TestMain(m *testing.M) {
	if imagetest.IsProcess1() {
		os.Exit(imagetest.Main())
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		imagetest.Clean()
		os.Exit(code)
	}))
}

// patience is how long nothing may come where something has to: a bound against
// hanging, which a machine with other work keeps too.
const patience = time.Minute

// served is a real daemon in this process.
type served struct {
	log logLines // all from info on
	t   *testing.T
	url string
	// stateDir is the configuration's.
	stateDir string
	stop     context.CancelFunc
	force    context.CancelFunc
	err      chan error // Run's result
}

// limitsOf are caps for shell scripts. The memory cap is far from what they
// use: a test binary under -race is large itself.
func limitsOf() config.Limits {
	return config.Limits{
		MemoryMax: config.Size{Bytes: 4 << 30}, PidsMax: 64, CPUWeight: 100, Timeout: config.Duration{Duration: time.Minute}, Stall: config.Duration{Duration: time.Minute},
		Grace: config.Duration{Duration: 200 * time.Millisecond}, OutputMax: config.Size{Bytes: 4 << 20}, LineMax: config.Size{Bytes: 1 << 20},
	}
}

// testConfig has backends that run the prompt as a shell script: sh gives its
// output as text, lines takes our own event lines from it.
func testConfig(t *testing.T) config.Config {
	b := func(name, kind string, command ...string) config.Backend {
		return config.Backend{Name: name, Kind: kind, Command: command, Configured: true, Limits: limitsOf()}
	}
	missing := b("absent", "exec", "/nowhere/absent")
	missing.Missing = "not found: absent"
	upper := b("upper", "exec", "/usr/bin/tr", "a-z", "A-Z")
	upper.Models = []string{"big"}
	return config.Config{
		Listen: []string{"127.0.0.1:0"}, StateDir: t.TempDir(), WorkspaceRoots: []string{t.TempDir()},
		DrainTimeout: config.Duration{Duration: 5 * time.Second},
		Isolation:    config.Isolation{Mode: "available"},
		Budget:       config.Budget{Memory: config.Size{Bytes: 64 << 30}, MaxRuns: 4},
		Queue:        config.Queue{MaxWaiting: 4, MaxWait: config.Duration{Duration: 30 * time.Second}},
		Limits:       limitsOf(),
		Translate:    config.Translate{SidecarHost: "host.docker.internal"},
		Backends: map[string]config.Backend{
			"sh": b("sh", "exec", "/bin/sh"), "lines": b("lines", "jsonl", "/bin/sh"), "upper": upper, "absent": missing,
		},
	}
}

// serve runs a daemon until the test's end.
func serve(t *testing.T, change func(*config.Config), with ...func(*Options)) *served {
	t.Helper()
	c := testConfig(t)
	if change != nil {
		change(&c)
	}
	ctx, stop := context.WithCancel(context.Background())
	force, cut := context.WithCancel(context.Background())
	s := &served{t: t, stateDir: c.StateDir, stop: stop, force: cut, err: make(chan error, 1)}
	ready := make(chan net.Addr, 1)
	o := Options{
		Logger: slog.New(slog.NewMultiHandler(
			slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelWarn}), slog.NewJSONHandler(&s.log, nil),
		)), Version: "test", Force: force,
		Ready: func(a []net.Addr) { ready <- a[0] },
	}
	for _, f := range with {
		f(&o)
	}
	go func() { s.err <- Run(ctx, c, o) }()
	select {
	case a := <-ready:
		s.url = "http://" + a.String()
	case err := <-s.err:
		if strings.Contains(err.Error(), "no cgroup v2 tree") {
			t.Skipf("this machine has no cgroup v2 tree to make groups in: %v", err)
		}
		t.Fatalf("daemon: %v", err)
	case <-time.After(patience):
		t.Fatal("daemon is not ready")
	}
	t.Cleanup(s.end)
	return s
}

// end stops the daemon, if that was not done before, and holds it to a clean end.
func (s *served) end() {
	s.t.Helper()
	s.stop()
	select {
	case err, open := <-s.err:
		if open {
			close(s.err)
		}
		if err != nil {
			s.t.Errorf("daemon ended with %v", err)
		}
	case <-time.After(patience * 2):
		s.t.Error("daemon does not end")
	}
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", bytes.TrimRight(p, "\n"))
	return len(p), nil
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func (s *served) do(ctx context.Context, method, path, body string, header ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	return documented(s.t, client.Transport).Do(req)
}

// result is one finished exchange.
type result struct {
	status   int
	header   http.Header
	body     string
	text     string
	finish   string
	done     bool
	err      *web.ErrorBody
	usage    *openai.Usage
	comments []string
	ids      []string
	chunks   []openai.Completion
}

// ask sends and reads to the end, for as long as it goes on: how long a large
// answer takes is the machine's business.
func (s *served) ask(method, path, body string, header ...string) result {
	s.t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	silent := time.AfterFunc(patience, func() { cancel(errors.New("nothing came")) })
	defer silent.Stop()
	resp, err := s.do(ctx, method, path, body, header...)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	resp.Body = heard{resp.Body, func() { silent.Reset(patience) }}
	r, err := read(resp, nil)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

// heard tells of every piece of a body that comes.
type heard struct {
	io.ReadCloser
	came func()
}

func (h heard) Read(p []byte) (int, error) {
	h.came()
	return h.ReadCloser.Read(p)
}

// read takes a whole reply; on is told of each chunk as it comes.
func read(resp *http.Response, on func(openai.Completion)) (r result, err error) {
	r = result{status: resp.StatusCode, header: resp.Header}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		text, err := io.ReadAll(resp.Body)
		r.body = string(text)
		if err == nil && len(text) > 0 && json.Valid(text) {
			r.take(text)
		}
		return r, err
	}
	in := bufio.NewReader(resp.Body)
	var body, text strings.Builder
	defer func() { r.body, r.text = body.String(), text.String() }()
	for {
		line, err := in.ReadString('\n')
		body.WriteString(line)
		line = strings.TrimSuffix(line, "\n")
		if c, ok := strings.CutPrefix(line, ": "); ok {
			r.comments = append(r.comments, c)
		}
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			r.ids = append(r.ids, id)
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			if r.done = data == "[DONE]"; !r.done {
				c := r.take([]byte(data))
				text.WriteString(r.text)
				r.text = ""
				if on != nil {
					on(c)
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return r, err
		}
	}
}

func (r *result) take(text []byte) openai.Completion {
	var c openai.Completion
	if json.Unmarshal(text, &c) != nil {
		return c
	}
	r.chunks = append(r.chunks, c)
	for _, ch := range c.Choices {
		if ch.Message != nil {
			r.text += ch.Message.Content
		}
		if ch.Delta != nil && ch.Delta.Content != nil {
			r.text += *ch.Delta.Content
		}
		if ch.Finish != nil {
			r.finish += *ch.Finish
		}
	}
	if c.Error != nil {
		r.err = c.Error
	}
	if c.Usage != nil {
		r.usage = c.Usage
	}
	return c
}

func (r result) code() string {
	if r.err == nil {
		return ""
	}
	return string(r.err.XCause)
}

// late is a refusal of a stream that took longer than openAfter: its headers
// were out, so it is a frame.
func (r result) late() bool { return r.status == 200 && r.err != nil && r.done }

// chatBody is a request with one user message and further fields.
func chatBody(model, prompt string, stream bool, more string) string {
	text, _ := json.Marshal(prompt)
	body := `{"model":"` + model + `","messages":[{"role":"user","content":` + string(text) + `}]`
	if stream {
		body += `,"stream":true`
	}
	return body + more + `}`
}

func (s *served) chat(model, prompt string, stream bool, more string, header ...string) result {
	s.t.Helper()
	return s.ask("POST", "/v1/chat/completions", chatBody(model, prompt, stream, more), header...)
}

// eventually asks until ok, with a bound.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// healthNow is /health decoded, whatever its status.
func (s *served) healthNow() health.HealthReport {
	s.t.Helper()
	var h health.HealthReport
	if err := json.Unmarshal([]byte(s.ask("GET", "/health", "").body), &h); err != nil {
		s.t.Fatal(err)
	}
	return h
}

// metric is the value of one series, 0 where there is none.
func (s *served) metric(series string) (n float64) {
	s.t.Helper()
	for line := range strings.Lines(s.ask("GET", "/metrics", "").body) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			if _, err := fmt.Sscan(value, &n); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	return n
}
