package server

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/config"
	"penstock/internal/openapitest"
	"penstock/server/listener"
	"penstock/server/web"
)

// Whatever is sent: the right refusal, in the one shape, and a daemon that is
// as well as before.
func TestBadInput(t *testing.T) {
	root := t.TempDir()
	s := serve(t, func(c *config.Config) { c.WorkspaceRoots = []string{root} })
	if err := os.Symlink("/etc", filepath.Join(root, "out")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	type row struct {
		name, method, path, body string
		header                   []string
		status                   int
		code, param              string
	}
	const chat = "/v1/chat/completions"
	ok := func(more string) string { return chatBody("upper", "x", false, more) }
	rows := []row{
		{"unknown path", "GET", "/v1/nope", "", nil, 404, "not_found", ""},
		{"double slash", "POST", "//v1/chat/completions", "{}", nil, 404, "not_found", ""},
		{"dots", "GET", "/v1/../v1/models", "", nil, 404, "not_found", ""},
		{"trailing slash", "GET", "/health/", "", nil, 404, "not_found", ""},
		{"wrong method", "GET", chat, "", nil, 405, "method_not_allowed", ""},
		{"odd method", "BREW", "/health", "", nil, 405, "method_not_allowed", ""},
		{"delete all runs", "DELETE", "/v1/runs", "", nil, 405, "method_not_allowed", ""},
		{"text", "POST", chat, ok(""), []string{"Content-Type", "text/plain"}, 415, "unsupported_media_type", "Content-Type"},
		{"form", "POST", "/translate", "a=b", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "unsupported_media_type", "Content-Type"},
		{"foreign origin", "POST", chat, ok(""), []string{"Origin", "https://evil.example"}, 403, "origin_not_allowed", ""},
		{"foreign host", "GET", "/v1/models", "", []string{"Host", "evil.example"}, 403, "host_not_allowed", ""},
		{"foreign host of health", "GET", "/health", "", []string{"Host", "evil.example"}, 403, "host_not_allowed", ""},
		{"too large", "POST", chat, `{"x":"` + strings.Repeat("x", web.BodyMax) + `"}`, nil, 413, "body_too_large", ""},
		{"run id blank", "POST", chat, ok(""), []string{"X-Run-Id", ""}, 400, "invalid_request", "X-Run-Id"},
		{"run id slash", "POST", chat, ok(""), []string{"X-Run-Id", "a/b"}, 400, "invalid_request", "X-Run-Id"},
		{"run id dots", "POST", chat, ok(""), []string{"X-Run-Id", ".."}, 400, "invalid_request", "X-Run-Id"},
		{"run id long", "POST", chat, ok(""), []string{"X-Run-Id", strings.Repeat("a", 129)}, 400, "invalid_request", "X-Run-Id"},
		{"last event id", "POST", chat, ok(""), []string{"Last-Event-ID", "first"}, 400, "invalid_request", "Last-Event-ID"},
		{"unknown backend", "POST", chat, chatBody("gpt-5", "x", false, ""), nil, 404, "model_not_found", "model"},
		{"unknown model", "POST", chat, chatBody("upper/small", "x", false, ""), nil, 404, "model_not_found", "model"},
		{"empty model", "POST", chat, chatBody("lines/", "x", false, ""), nil, 404, "model_not_found", "model"},
		{"model is an option", "POST", chat, chatBody("lines/--help", "x", false, ""), nil, 404, "model_not_found", "model"},
		{"missing program", "POST", chat, chatBody("absent", "x", false, ""), nil, 503, "cli_missing", ""},
		{"cwd relative", "POST", chat, ok(`,"cwd":"work"`), nil, 400, "invalid_request", "cwd"},
		{"cwd outside", "POST", chat, ok(`,"cwd":"/etc"`), nil, 403, "cwd_not_allowed", "cwd"},
		{"cwd outside, not there", "POST", chat, ok(`,"cwd":"/nowhere/at/all"`), nil, 403, "cwd_not_allowed", "cwd"},
		{"cwd up and out", "POST", chat, ok(`,"cwd":"` + root + `/../../etc"`), nil, 403, "cwd_not_allowed", "cwd"},
		{"cwd through a link", "POST", chat, ok(`,"cwd":"` + root + `/out"`), nil, 403, "cwd_not_allowed", "cwd"},
		{"cwd beside", "POST", chat, ok(`,"cwd":"` + root + `x"`), nil, 403, "cwd_not_allowed", "cwd"},
		{"cwd not there", "POST", chat, ok(`,"cwd":"` + root + `/none"`), nil, 400, "invalid_request", "cwd"},
		{"cwd a file", "POST", chat, ok(`,"cwd":"` + root + `/file"`), nil, 400, "invalid_request", "cwd"},
		{"memory raised", "POST", chat, ok(`,"limits":{"memory_max":"1TiB"}`), nil, 400, "invalid_request", "limits.memory_max"},
		{"pids raised", "POST", chat, ok(`,"limits":{"pids_max":100000}`), nil, 400, "invalid_request", "limits.pids_max"},
		{"effort", "POST", chat, chatBody("lines", "x", false, `,"effort":"huge"`), nil, 400, "invalid_request", "effort"},
		{"effort of a chat", "POST", chat, chatBody("lines", "x", false, `,"reasoning_effort":"huge"`), nil, 400, "invalid_request", "reasoning_effort"},
		{"effort of a response", "POST", "/v1/responses", `{"model":"lines","input":"x","reasoning":{"effort":"huge"}}`, nil, 400, "invalid_request", "reasoning.effort"},
		{"effort of a message", "POST", "/v1/messages", messageBody("lines", "x", `,"output_config":{"effort":"huge"}`), nil, 400, "invalid_request", "output_config.effort"},
		{"sessions disagree", "POST", chat, ok(`,"session_id":"a"`), []string{"X-Resume", "b"}, 400, "invalid_request", "session_id"},
		{"no such run", "GET", "/v1/runs/nope", "", nil, 404, "run_not_found", ""},
		{"no such run's events", "GET", "/v1/runs/nope/events", "", nil, 404, "run_not_found", ""},
		{"no such run to cancel", "POST", "/v1/runs/nope/cancel", "", nil, 404, "run_not_found", ""},
		{"run up", "GET", "/v1/runs/..%2f..%2fetc", "", nil, 404, "", ""},
		{"runs state", "GET", "/v1/runs?state=odd", "", nil, 400, "invalid_request", "state"},
		{"runs limit", "GET", "/v1/runs?limit=-1", "", nil, 400, "invalid_request", "limit"},
		{"no such model", "GET", "/v1/models/nope", "", nil, 404, "model_not_found", "model"},
		{"no such session", "DELETE", "/v1/sessions/nope", "", nil, 404, "session_not_found", ""},
		{"translate nothing", "POST", "/translate", "{}", nil, 400, "invalid_request", "to"},
		{"translate to", "POST", "/translate", `{"url":"http://localhost","to":"moon"}`, nil, 400, "invalid_request", "to"},
		{"translate url", "POST", "/translate", `{"url":"localhost","to":"host"}`, nil, 400, "invalid_request", "url"},
		{"translate number", "POST", "/translate", `{"url":7,"to":"host"}`, nil, 400, "invalid_request", "url"},
	}
	for path, bodies := range map[string][]openapitest.BadBody{
		chat: openapitest.BadBodies(), "/v1/responses": openapitest.BadResponses(), "/v1/messages": openapitest.BadMessages(),
	} {
		for _, b := range bodies {
			rows = append(rows, row{path + " " + b.Name, "POST", path, b.Body, []string{"Content-Type", "application/json"}, b.Status, "invalid_request", b.Param})
		}
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := s.ask(row.method, row.path, row.body, row.header...)
			if r.status != row.status || (row.code != "" && r.code() != row.code) {
				t.Fatalf("%d %s, want %d %s: %s", r.status, r.code(), row.status, row.code, web.Clip(r.body, 300))
			}
			got := ""
			if r.err.Param != nil {
				got = *r.err.Param
			}
			if got != row.param || r.err.Message == "" || r.err.Type == "" {
				t.Errorf("error %+v param %q, want param %q", r.err, got, row.param)
			}
			if r.header.Get("X-Request-Id") == "" || r.header.Get("Content-Type") != "application/json" {
				t.Errorf("headers %v", r.header)
			}
		})
	}
	if h := s.healthNow(); h.Status != "ok" || h.Children.Runs != 0 {
		t.Errorf("health afterwards %+v", h)
	}
	if r := s.chat("upper", "fine", false, ""); r.text != "FINE" {
		t.Errorf("a run afterwards: %+v", r)
	}
}

func TestRoutes_Allow(t *testing.T) {
	s := serve(t, nil)
	for path, want := range map[string]string{
		"/v1/chat/completions": "POST", "/health": "GET, HEAD", "/v1/sessions/x": "DELETE", "/v1/runs/x/cancel": "POST", "/": "GET, HEAD",
	} {
		if r := s.ask("PATCH", path, ""); r.status != 405 || r.header.Get("Allow") != want {
			t.Errorf("%s: %d Allow %q, want %q", path, r.status, r.header.Get("Allow"), want)
		}
	}
}

func TestRoutes_Head(t *testing.T) {
	s := serve(t, nil)
	id := s.chat("upper", "x", false, "").header.Get("X-Run-Id")
	for _, path := range []string{"/", "/health", "/livez", "/readyz", "/metrics", "/openapi.json", "/ui", "/ui/page.js", "/v1/models", "/v1/models/upper", "/v1/runs", "/v1/runs/" + id, "/v1/runs/" + id + "/events", "/v1/sessions"} {
		head, get := s.ask("HEAD", path, ""), s.ask("GET", path, "")
		if head.status != 200 || get.status != 200 || head.body != "" || get.body == "" {
			t.Errorf("%s: HEAD %d %q, GET %d", path, head.status, head.body, get.status)
		}
		if h, g := head.header.Get("Content-Type"), get.header.Get("Content-Type"); h != g {
			t.Errorf("%s: HEAD says %q, GET %q", path, h, g)
		}
	}
}

func TestRequestID(t *testing.T) {
	s := serve(t, nil)
	if got := s.ask("GET", "/livez", "", "X-Request-Id", "mine-1").header.Get("X-Request-Id"); got != "mine-1" {
		t.Errorf("got %q", got)
	}
	if got := s.ask("GET", "/livez", "", "X-Request-Id", "bad id\x01"[:6]).header.Get("X-Request-Id"); !strings.HasPrefix(got, "req_") {
		t.Errorf("got %q", got)
	}
}

func TestModels(t *testing.T) {
	s := serve(t, nil)
	r := s.ask("GET", "/v1/models", "")
	for _, want := range []string{`"id":"upper"`, `"id":"upper/big"`, `"id":"absent","object":"model"`, `"owned_by":"penstock","ready":false`} {
		if !strings.Contains(r.body, want) {
			t.Errorf("%s lacks %s", r.body, want)
		}
	}
	if r := s.ask("GET", "/v1/models/bridge/upper/big", ""); r.status != 200 || !strings.Contains(r.body, `"ready":true`) {
		t.Errorf("%+v", r)
	}
	if r := s.ask("GET", "/v1/models/upper%2Fbig", ""); r.status != 200 {
		t.Errorf("%+v", r)
	}
}

func TestIndex(t *testing.T) {
	s := serve(t, nil)
	if r := s.ask("GET", "/", ""); r.status != 200 || !strings.Contains(r.body, `"/v1/sessions/{id}"`) || strings.Contains(r.body, ".+") {
		t.Errorf("%+v", r)
	}
}

func TestTranslateRoute(t *testing.T) {
	s := serve(t, nil)
	r := s.ask("POST", "/translate", `{"url":"http://127.0.0.1:8080/x?y","to":"sidecar"}`)
	if diff := cmp.Diff(`{"url":"http://host.docker.internal:8080/x?y","changed":true}`+"\n", r.body); diff != "" {
		t.Error(diff)
	}
}

func TestHealth(t *testing.T) {
	s := serve(t, nil)
	h := s.healthNow()
	if h.Status != "ok" || h.Busy || h.Version != "test" || h.Daemon.RSS == nil || *h.Daemon.RSS == 0 || h.Daemon.FDs == nil || h.Daemon.Goroutines == 0 {
		t.Errorf("%+v", h)
	}
	if h.Isolation.Root == "" || h.Isolation.Kill != "kernel" || h.Memory.Budget != 64<<30 || h.Memory.Available == nil {
		t.Errorf("%+v", h)
	}
	if diff := cmp.Diff([]string{"backend absent: not found: absent"}, h.Degraded); diff != "" {
		t.Error(diff)
	}
	states := map[string]string{}
	for _, b := range h.Backends {
		states[b.Name] = b.State
	}
	if diff := cmp.Diff(map[string]string{"sh": "ready", "lines": "ready", "upper": "ready", "absent": "missing"}, states); diff != "" {
		t.Error(diff)
	}
}

func TestTokens(t *testing.T) {
	s := serve(t, func(c *config.Config) {
		c.Tokens = []config.Token{
			{Name: "bot", SHA256: sha256.Sum256([]byte("s3cret"))}, {Name: "ide", SHA256: sha256.Sum256([]byte("other"))}, {Name: "ops", SHA256: sha256.Sum256([]byte("all"))},
		}
		c.Clients = map[string]config.Client{"ops": {Weight: 1, Operator: true}, "ide": {Weight: 1}}
	})
	for _, path := range []string{"/health", "/livez", "/readyz", "/openapi.json", "/ui", "/ui/page.js"} {
		if r := s.ask("GET", path, ""); r.status != 200 {
			t.Errorf("%s needs a token: %d", path, r.status)
		}
	}
	for _, path := range []string{"/", "/metrics", "/v1/models", "/v1/runs", "/v1/nope"} {
		if r := s.ask("GET", path, ""); r.status != 401 || r.code() != "invalid_api_key" || r.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s without a token: %+v", path, r)
		}
	}
	bot, ide, ops := []string{"Authorization", "Bearer s3cret"}, []string{"Authorization", "Bearer other"}, []string{"Authorization", "Bearer all"}
	r := s.chat("upper", "x", false, "", bot...)
	if r.text != "X" {
		t.Fatalf("%+v", r)
	}
	id := r.header.Get("X-Run-Id")
	if r := s.ask("GET", "/v1/runs/"+id, "", bot...); !strings.Contains(r.body, `"client":"bot"`) {
		t.Errorf("%+v", r)
	}
	if r := s.ask("GET", "/v1/runs/"+id+"/events", "", ide...); r.status != 404 {
		t.Errorf("another client's text: %+v", r)
	}
	if r := s.ask("POST", "/v1/runs/"+id+"/cancel", "", ide...); r.status != 404 {
		t.Errorf("another client's run: %+v", r)
	}
	if r := s.ask("GET", "/v1/runs", "", ide...); strings.Contains(r.body, id) {
		t.Errorf("another client's run is listed: %+v", r)
	}
	if list, events := s.ask("GET", "/v1/runs", "", ops...), s.ask("GET", "/v1/runs/"+id+"/events", "", ops...); !strings.Contains(list.body, id) || events.text != "X" {
		t.Errorf("the operator sees %+v and %+v", list, events)
	}
	if body := s.ask("GET", "/metrics", "", bot...).body; !strings.Contains(body, `penstock_runs_finished_total{backend="upper",cause="completed",client="bot"} 1`) || strings.Contains(body, "s3cret") {
		t.Error("metrics don't know the client")
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.sock")
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	serve(t, func(c *config.Config) {
		c.Listen = []string{"127.0.0.1:0", "unix:" + path}
		c.Tokens = []config.Token{{Name: "bot", SHA256: sha256.Sum256([]byte("s3cret"))}}
	})
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket %v %v", info, err)
	}
	c := documented(t, &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}})
	resp, err := c.Post("http://any.example/v1/chat/completions", "application/json", strings.NewReader(chatBody("upper", "x", false, "")))
	if err != nil {
		t.Fatal(err)
	}
	r, err := read(resp, nil)
	resp.Body.Close()
	if err != nil || r.text != "X" {
		t.Fatalf("%+v %v", r, err)
	}
	resp, err = c.Get("http://any.example/v1/runs")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if want := fmt.Sprintf(`"client":"uid:%d"`, os.Getuid()); !strings.Contains(string(body), want) {
		t.Errorf("%s lacks %s", body, want)
	}
	if _, err := listener.ListenUnix(path); err == nil || !strings.Contains(err.Error(), "another process answers") {
		t.Errorf("a second daemon on the socket: %v", err)
	}
}

func TestListenRefusals(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		taken.Addr().String(): "another process has this port",
		"unix:" + file:        "is not a socket",
		"0.0.0.0:0":           "no tokens are configured",
	} {
		c := testConfig(t)
		c.Listen = []string{address}
		err := Run(context.Background(), c, Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
}

// A body that never ends, and a header that never ends, hold nothing up.
func TestHalfRequests(t *testing.T) {
	s := serve(t, nil)
	address := strings.TrimPrefix(s.url, "http://")
	for _, text := range []string{
		"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
		"GET /health HTTP/1.1\r\nHost: loc",
		"\x16\x03\x01\x02\x00",
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if r := s.chat("upper", "x", false, ""); r.text != "X" {
		t.Errorf("%+v", r)
	}
	eventually(t, "no slot is held", func() bool { return s.healthNow().Status == "ok" })
}

// A base URL that is nearly right, and an API that isn't ours: what to do is said.
func TestHints(t *testing.T) {
	s := serve(t, func(c *config.Config) {
		sh := c.Backends["sh"]
		sh.Aliases, sh.Models = []string{"GPT-5.agent"}, []string{"big"}
		c.Backends["sh"] = sh
	})
	for _, row := range []struct{ method, path, says string }{
		{"POST", "//v1/chat/completions", "did you mean /v1/chat/completions? (hint: a client's base URL ends in /v1"},
		{"POST", "/v1//chat/completions", "did you mean /v1/chat/completions?"},
		{"POST", "/v1/v1/chat/completions", "did you mean /v1/chat/completions?"},
		{"POST", "/chat/completions", "did you mean /v1/chat/completions?"},
		{"POST", "/v1/chat/completions/", "did you mean /v1/chat/completions?"},
		{"POST", "/openai/v1/chat/completions", "did you mean /v1/chat/completions?"},
		{"GET", "/models", "did you mean /v1/models?"},
		{"GET", "/v1/health/", "GET / lists them"},
		{"GET", "//health", "did you mean /health?"},
		{"POST", "/responses", "did you mean /v1/responses?"},
		{"POST", "/v1/completions", "only conversations are served"},
		{"GET", "/v1/conversations/conv_1", "previous_response_id"},
		{"POST", "/v1/responses/compact", "keeps its own context"},
		{"POST", "/v1/v1/messages", "did you mean /v1/messages? (hint: a client of Anthropic's API that adds /v1 by itself has a base URL without it"},
		{"POST", "/messages", "did you mean /v1/messages? (hint: a client's base URL ends in /v1"},
		{"POST", "/v1/chat/completions/chat/completions", "did you mean /v1/chat/completions? (hint: a client's base URL ends in /v1; it adds /chat/completions by itself)"},
		{"POST", "/v1/messagesx", "GET / lists them"},
	} {
		if r := s.ask(row.method, row.path, ""); r.status != 404 || r.code() != "not_found" || !strings.Contains(r.err.Message, row.says) {
			t.Errorf("%s %s: %d %+v, want %q", row.method, row.path, r.status, r.err, row.says)
		}
	}
	if r := s.ask("POST", "/v1/responses/responses", ""); r.status != 405 || r.err == nil || !strings.Contains(r.err.Message, "did you mean /v1/responses? (hint: ") {
		t.Errorf("%d %s", r.status, r.body)
	}
	// The name that was asked for is the one in the answer.
	if r := s.chat("GPT-5.agent", "echo a", true, ""); r.text != "a\n" || r.chunks[0].Model != "GPT-5.agent" {
		t.Errorf("by an alias: %+v", r)
	}
	if r := s.ask("GET", "/v1/models", ""); !strings.Contains(r.body, `"id":"GPT-5.agent"`) || !strings.Contains(r.body, `"id":"GPT-5.agent/big"`) {
		t.Errorf("models: %s", r.body)
	}
	if r := s.ask("GET", "/v1/models/GPT-5.agent/big", ""); r.status != 200 {
		t.Errorf("model: %+v", r)
	}
}

// The page is there before a token was entered, and nothing else is.
func TestPage_NeedsNoToken(t *testing.T) {
	s := serve(t, func(c *config.Config) {
		c.Tokens = []config.Token{{Name: "bot", SHA256: sha256.Sum256([]byte("s3cret"))}}
	})
	page := s.ask("GET", "/ui", "")
	if page.status != 200 || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") {
		t.Fatalf("%d %v", page.status, page.header)
	}
	policy := page.header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("policy %q lacks %q", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(page.body, "<script>") || strings.Contains(page.body, "style=") {
		t.Error("inline script or style")
	}
	if r := s.ask("GET", "/v1/runs", ""); r.status != 401 {
		t.Errorf("the runs without a token: %d", r.status)
	}
	if r := s.ask("GET", "/ui", "", "Host", "evil.example"); r.status != 403 {
		t.Errorf("a foreign host: %d", r.status)
	}
	for _, path := range []string{"/ui/ui.go", "/ui/nope.js", "/ui/.", "/ui/..", "/ui/%2e%2e", "/ui/..%2fui.go"} {
		if r := s.ask("GET", path, ""); r.status != 404 {
			t.Errorf("%s: %d", path, r.status)
		}
	}
}

var loaded = regexp.MustCompile(`(?:src|href)="ui/([^"]+)"|from "\./([^"]+)"`)

// Whatever the page loads is served, and comes from here.
func TestPage_OwnFilesOnly(t *testing.T) {
	s := serve(t, nil)
	todo, seen := []string{"/ui"}, map[string]bool{}
	for len(todo) > 0 {
		path := todo[0]
		todo = todo[1:]
		if seen[path] {
			continue
		}
		seen[path] = true
		r := s.ask("GET", path, "")
		if r.status != 200 || r.body == "" {
			t.Errorf("%s: %d", path, r.status)
		}
		for _, m := range loaded.FindAllStringSubmatch(r.body, -1) {
			todo = append(todo, "/ui/"+m[1]+m[2])
		}
		text := strings.ReplaceAll(r.body, "http://www.w3.org/2000/svg", "")
		for _, bad := range []string{"http://", "https://", "//cdn", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s has %s", path, bad)
			}
		}
	}
	if len(seen) < 5 {
		t.Errorf("loads only %v", seen)
	}
}
