package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/test/clis"
	"penstock/test/daemon"
)

// stock is one stock client in one dialect.
type stock struct {
	name    string // of its program in test/sdk
	dialect string
	helper  bool // the SDK's own accumulating stream
}

// stocks are all of them; the first of a dialect is its leader, which has to do with each CLI.
func stocks() []stock {
	var all []stock
	for _, dialect := range []string{"chat", "responses", "messages"} {
		sdk := "openai"
		if dialect == "messages" {
			sdk = "anthropic"
		}
		for _, name := range []string{sdk, "gosdk", "vercel", "langchain"} {
			all = append(all, stock{name, dialect, false})
		}
		all = append(all, stock{sdk, dialect, true})
	}
	return all
}

func leaders() []stock {
	return slices.DeleteFunc(stocks(), func(c stock) bool { return c.helper || c.name != "openai" && c.name != "anthropic" })
}

func (c stock) String() string {
	if c.helper {
		return c.dialect + "/" + c.name + " helper"
	}
	return c.dialect + "/" + c.name
}

// way is a client that asks for streamed answers, or for whole ones.
type way struct {
	stock
	stream bool
}

func (w way) String() string { return fmt.Sprintf("%s/stream=%v", w.stock, w.stream) }

func streamed(clients ...stock) []way {
	var all []way
	for _, c := range clients {
		all = append(all, way{c, true})
	}
	return all
}

func bothWays(clients ...stock) []way {
	all := streamed(clients...)
	for _, c := range clients {
		if !c.helper { // which streams always
			all = append(all, way{c, false})
		}
	}
	return all
}

// good is its word for an answer that came to its own end.
func (c stock) good() string {
	switch {
	case c.dialect == "chat", c.name == "vercel":
		return "stop"
	case c.dialect == "responses":
		return "completed"
	}
	return "end_turn"
}

// seen is what an application sees of one turn: test/sdk/client.mjs.
type seen struct {
	Text      string         `json:"text"`
	Reasoning string         `json:"reasoning"`
	Deltas    int            `json:"deltas"`
	Tools     []seenTool     `json:"tools"`
	Finish    string         `json:"finish"`
	Usage     map[string]any `json:"usage"`
	ID        string         `json:"id"`
	Status    string         `json:"status"`
	Events    []string       `json:"events"`
	Numbers   []int          `json:"numbers"`
	Requests  int            `json:"requests"`
	Failure   map[string]any `json:"failure"`
	Error     *seenError     `json:"error"`
}

type seenTool struct {
	Name   string `json:"name"`
	Input  any    `json:"input"`
	Output any    `json:"output"`
	Error  any    `json:"error"`
}

type seenError struct {
	Class   string `json:"class"`
	Status  any    `json:"status"`
	Code    any    `json:"code"`
	Type    string `json:"type"`
	Message string `json:"message"`
	Cause   string `json:"x_cause"`
}

// failed is all that the client tells of a failure: what it threw, and what stands in an answer
// that it took for one; "" is none.
func (s seen) failed() string {
	var all []string
	if s.Error != nil {
		all = append(all, fmt.Sprintf("%+v", *s.Error))
	}
	if s.Failure != nil {
		all = append(all, fmt.Sprint("in the answer: ", s.Failure))
	}
	return strings.Join(all, ", ")
}

func (s seen) String() string {
	return fmt.Sprintf("text %.300q finish %q id %q events %v failed: %.600s", s.Text, s.Finish, s.ID, s.Events, s.failed())
}

// clientID is what clients of every dialect take for an id.
var clientID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// conversation is what a client program is asked for: test/sdk/client.mjs.
type conversation struct {
	ID          int               `json:"id"` // this and the next three are the harness's
	Dialect     string            `json:"dialect"`
	Helper      bool              `json:"helper"`
	Stream      bool              `json:"stream"`
	BaseURL     string            `json:"baseURL"`
	Model       string            `json:"model"`
	System      string            `json:"system,omitempty"`
	APIKey      string            `json:"apiKey,omitempty"`
	Turns       []turn            `json:"turns"`
	Memory      string            `json:"memory,omitempty"`
	Schema      map[string]any    `json:"schema,omitempty"`
	Extra       map[string]any    `json:"extra,omitempty"`
	Headers     map[string]string `json:"headers,omitempty"`
	AbortMillis int               `json:"abort_after_ms,omitempty"`
	AbortDeltas int               `json:"abort_after_deltas,omitempty"`
}

type turn struct {
	Text   string `json:"text,omitempty"`
	Image  string `json:"image,omitempty"` // a data URI
	Op     string `json:"op,omitempty"`
	ID     string `json:"id,omitempty"`
	After  *int   `json:"after,omitempty"`
	Most   int    `json:"most,omitempty"`
	Stream *bool  `json:"stream,omitempty"`
}

func says(texts ...string) []turn {
	var turns []turn
	for _, text := range texts {
		turns = append(turns, turn{Text: text})
	}
	return turns
}

// sdks are the client programs that run for a test, each at most once.
type sdks struct {
	t        *testing.T
	mu       sync.Mutex
	programs map[string]*program
	ways     map[string]string // watched, by the daemon's own address
}

func openSDKs(t *testing.T) *sdks {
	t.Helper()
	if _, err := os.Stat(filepath.Join(daemon.Top(t), "test", "sdk", "node_modules", ".stamp")); err != nil {
		t.Fatalf("the stock clients: %v: run test/sdk/install", err)
	}
	return &sdks{t: t, programs: map[string]*program{}, ways: map[string]string{}}
}

// watched is another address of a daemon, on the way to which each exchange is held to its
// document, as those of the tests themselves are.
func watched(t *testing.T, address string) string {
	target, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     daemon.Transport,
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0), // of clients that left, and of a daemon that restarts
	})
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

func (s *sdks) watched(address string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ways[address] == "" {
		s.ways[address] = watched(s.t, address)
	}
	return s.ways[address]
}

// hold holds a conversation and gives its turns, up to one that failed.
func (s *sdks) hold(c way, asked conversation) ([]seen, error) {
	p, err := s.program(c.name)
	if err != nil {
		return nil, err
	}
	asked.BaseURL = s.watched(asked.BaseURL)
	asked.Dialect, asked.Helper, asked.Stream = c.dialect, c.helper, c.stream
	report, err := p.send(asked)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c, err)
	}
	select {
	case turns := <-report:
		return turns, nil
	case <-p.ended:
		return nil, fmt.Errorf("%s has ended: %s", c, p.stderr.String())
	case <-time.After(long):
		return nil, fmt.Errorf("%s: no report after %v", c, long)
	}
}

// last is the turn that the conversation ended with.
func (s *sdks) last(t *testing.T, c way, asked conversation) seen {
	t.Helper()
	turns, err := s.hold(c, asked)
	if err != nil {
		t.Fatal(err)
	}
	return turns[len(turns)-1]
}

// program is a running client program.
type program struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	ended  chan struct{}
	stderr bytes.Buffer // to be read once ended

	mu      sync.Mutex
	next    int
	waiting map[int]chan []seen
}

// program is the client program of that name, which is started if it doesn't run.
func (s *sdks) program(name string) (*program, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.programs[name]; p != nil {
		return p, nil
	}
	dir := filepath.Join(daemon.Top(s.t), "test", "sdk")
	argv := []string{clis.Node(filepath.Join(dir, "..", "clis")), filepath.Join(dir, name+".mjs")}
	if name == "gosdk" {
		path, err := goSDK(dir)
		if err != nil {
			return nil, err
		}
		argv = []string{path}
	}
	p := &program{cmd: exec.Command(argv[0], argv[1:]...), ended: make(chan struct{}), waiting: map[int]chan []seen{}}
	p.cmd.Stderr = &p.stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.stdin = stdin
	go p.read(stdout)
	s.programs[name] = p
	s.t.Cleanup(func() {
		p.end()
		if s.t.Failed() {
			s.t.Logf("%s wrote: %s", name, p.stderr.String())
		}
	})
	return p, nil
}

// goSDK builds the Go clients, once for all tests.
func goSDK(dir string) (string, error) {
	built.Do(func() {
		built.path = filepath.Join(dir, "..", ".cache", "gosdk")
		cmd := exec.Command("go", "build", "-o", built.path, ".")
		cmd.Dir = filepath.Join(dir, "gosdk")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("build the Go clients: %w: %s", err, out)
		}
	})
	return built.path, built.err
}

var built struct {
	sync.Once
	path string
	err  error
}

// end lets go of what the program's clients have left open.
func (p *program) end() {
	_ = p.stdin.Close()
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

func (p *program) read(stdout io.Reader) {
	defer close(p.ended)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var report struct {
			ID    int    `json:"id"`
			Turns []seen `json:"turns"`
		}
		if json.Unmarshal(lines.Bytes(), &report) != nil {
			continue // of what a client prints by itself
		}
		p.mu.Lock()
		waiting := p.waiting[report.ID]
		delete(p.waiting, report.ID)
		p.mu.Unlock()
		if waiting != nil {
			waiting <- report.Turns
		}
	}
	_ = p.cmd.Wait()
}

// send sends a conversation, whose report will come from the channel.
func (p *program) send(asked conversation) (chan []seen, error) {
	report := make(chan []seen, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	asked.ID = p.next
	p.waiting[asked.ID] = report
	return report, json.NewEncoder(p.stdin).Encode(asked)
}
