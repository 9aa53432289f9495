package daemon

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bad is one request that must be refused with a clear error.
type bad struct {
	name   string
	method string // POST
	path   string // /v1/chat/completions
	header string // "Name: value", several by newline
	body   string
	status int
	code   string // of the error, "" is any
	says   string // somewhere in message or param
}

func chat(fields string) string {
	return `{"model":"demo","messages":[{"role":"user","content":"hi"}]` + fields + `}`
}

func badRequests(outside string) []bad {
	return []bad{
		{name: "empty body", status: 400, says: "JSON"},
		{name: "broken JSON", body: `{"model":"demo",`, status: 400, says: "JSON"},
		{name: "not an object", body: `[1,2]`, status: 400},
		{name: "a string", body: `"demo"`, status: 400},
		{name: "trailing data", body: chat("") + `{}`, status: 400, says: "after"},
		{name: "deep nesting", body: `{"model":"demo","metadata":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, status: 400, says: "deep"},
		{name: "huge body", body: `{"model":"demo","messages":[{"role":"user","content":"` + strings.Repeat("a", 9<<20) + `"}]}`, status: 413},
		{name: "bad UTF-8", body: "{\"model\":\"demo\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\xfe\"}]}", status: 400, says: "UTF-8"},
		{name: "no model", body: `{"messages":[{"role":"user","content":"hi"}]}`, status: 400, says: "model"},
		{name: "model a number", body: `{"model":7,"messages":[{"role":"user","content":"hi"}]}`, status: 400, says: "model"},
		{name: "unknown model", body: `{"model":"gpt-9","messages":[{"role":"user","content":"hi"}]}`, status: 404, code: "model_not_found", says: "gpt-9"},
		{name: "no messages", body: `{"model":"demo"}`, status: 400, says: "messages"},
		{name: "empty messages", body: `{"model":"demo","messages":[]}`, status: 400, says: "messages"},
		{name: "messages a string", body: `{"model":"demo","messages":"hi"}`, status: 400, says: "messages"},
		{name: "unknown role", body: `{"model":"demo","messages":[{"role":"wizard","content":"hi"}]}`, status: 400, says: "wizard"},
		{name: "no role", body: `{"model":"demo","messages":[{"content":"hi"}]}`, status: 400, says: "role"},
		{name: "content a number", body: `{"model":"demo","messages":[{"role":"user","content":7}]}`, status: 400, says: "content"},
		{name: "unknown part", body: `{"model":"demo","messages":[{"role":"user","content":[{"type":"smell","smell":"x"}]}]}`, status: 400, says: "smell"},
		{name: "image part", body: `{"model":"demo","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}`, status: 400, says: "image_url"},
		{name: "n is 2", body: chat(`,"n":2`), status: 400, says: "n"},
		{name: "logprobs", body: chat(`,"logprobs":true`), status: 400, says: "logprobs"},
		{name: "stop", body: chat(`,"stop":["x"]`), status: 400, says: "stop"},
		{name: "forced tool", body: chat(`,"tools":[],"tool_choice":"required"`), status: 400, says: "tool_choice"},
		{name: "json schema", body: chat(`,"response_format":{"type":"json_schema","json_schema":{}}`), status: 400, says: "response_format"},
		{name: "stream a string", body: chat(`,"stream":"yes"`), status: 400, says: "stream"},
		{name: "timeout negative", body: chat(`,"timeout_ms":-1`), status: 400, says: "timeout_ms"},
		{name: "timeout a string", body: chat(`,"timeout_ms":"1s"`), status: 400, says: "timeout_ms"},
		{name: "limit raised", body: chat(`,"limits":{"memory_max":"64GiB"}`), status: 400, says: "memory_max"},
		{name: "limit nonsense", body: chat(`,"limits":{"memory_max":"lots"}`), status: 400, says: "memory_max"},
		{name: "limit below the floor", body: chat(`,"limits":{"memory_max":"1MiB"}`), status: 400, says: "memory_max"},
		{name: "unknown limit", body: chat(`,"limits":{"memory_min":"1GiB"}`), status: 400, says: "memory_min"},
		{name: "pids zero", body: chat(`,"limits":{"pids_max":0}`), status: 400, says: "pids_max"},
		{name: "cwd outside", body: chat(`,"cwd":"/etc"`), status: 403, says: "cwd"},
		{name: "cwd by a link", body: chat(`,"cwd":` + quote(outside) + ``), status: 403, says: "cwd"},
		{name: "cwd missing", body: chat(`,"cwd":"/nowhere/at/all"`), status: 403, says: "cwd"},
		{name: "cwd relative", body: chat(`,"cwd":"src"`), status: 400, says: "cwd"},
		{name: "session ids differ", header: "X-Session-Id: b", body: chat(`,"session_id":"a"`), status: 400, says: "session"},
		{name: "run id with a slash", header: "X-Run-Id: ../../etc", body: chat(""), status: 400, says: "X-Run-Id"},
		{name: "run id of a kernel file", header: "X-Run-Id: cgroup.procs", body: chat(""), status: 400, says: "X-Run-Id"},
		{name: "run id too long", header: "X-Run-Id: " + strings.Repeat("a", 200), body: chat(""), status: 400, says: "X-Run-Id"},
		{name: "not JSON by type", header: "Content-Type: text/plain", body: chat(""), status: 415},
		{name: "foreign Origin", header: "Origin: http://evil.example", body: chat(""), status: 403},
		{name: "foreign Host", header: "Host: evil.example", body: chat(""), status: 403},
		{name: "missing program", body: strings.Replace(chat(""), "demo", "ghost", 1), status: 503, code: "cli_missing", says: "ghost"},
		{name: "directory as program", body: strings.Replace(chat(""), "demo", "folder", 1), status: 503, code: "cli_missing", says: "directory"},
		{name: "not executable", body: strings.Replace(chat(""), "demo", "plain", 1), status: 503, code: "cli_missing", says: "executable"},
		{name: "GET chat", method: "GET", status: 405},
		{name: "DELETE chat", method: "DELETE", status: 405},
		{name: "unknown path", method: "GET", path: "/v2/nothing", status: 404},
		{name: "double slash", path: "//v1/chat/completions", body: chat(""), status: 404},
		{name: "unknown model id", method: "GET", path: "/v1/models/gpt-9", status: 404, says: "gpt-9"},
		{name: "unknown run", method: "GET", path: "/v1/runs/run_none", status: 404, says: "run_none"},
		{name: "events of an unknown run", method: "GET", path: "/v1/runs/run_none/events", status: 404},
		{name: "cancel an unknown run", path: "/v1/runs/run_none/cancel", body: "{}", status: 404},
		{name: "runs limit", method: "GET", path: "/v1/runs?limit=many", status: 400, says: "limit"},
		{name: "runs state", method: "GET", path: "/v1/runs?state=odd", status: 400, says: "state"},
		{name: "forget an unknown session", method: "DELETE", path: "/v1/sessions/none", status: 404},
		{name: "translate nonsense", path: "/translate", body: `{"url":"not a url","to":"host"}`, status: 400, says: "url"},
		{name: "translate to nowhere", path: "/translate", body: `{"url":"http://localhost/","to":"moon"}`, status: 400, says: "to"},
		{name: "POST health", path: "/health", body: "{}", status: 405},
	}
}

func quote(s string) string {
	raw, _ := json.Marshal(s)
	return string(raw)
}

func TestBadRequests(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	d := Start(t, Options{Config: small + fmt.Sprintf(`
[backends.ghost]
kind = "exec"
command = ["/nowhere/ghost"]
[backends.folder]
kind = "exec"
command = [%q]
[backends.plain]
kind = "exec"
command = [%q]
`, dir, plain)})
	link := filepath.Join(d.Dir, "link")
	if err := os.Symlink("/etc", link); err != nil {
		t.Fatal(err)
	}
	started := d.Metric("penstock_runs_started_total")
	for _, row := range badRequests(link) {
		t.Run(row.name, func(t *testing.T) { row.check(t, d) })
	}
	if now := d.Metric("penstock_runs_started_total"); now != started {
		t.Errorf("%v runs were started by bad requests", now-started)
	}
	h, err := d.Health()
	if err != nil || h["status"] != "ok" {
		t.Errorf("health afterwards: %v %v", h["status"], err)
	}
	if a, err := d.Chat(bounded(t, 10*time.Second), Body("demo", "still here", nil), nil); err != nil || a.Finish != "stop" {
		t.Errorf("a good request afterwards: %v %+v", err, a)
	}
}

func (row bad) check(t *testing.T, d *Daemon) {
	method, path := row.method, row.path
	if method == "" {
		method = "POST"
	}
	if path == "" {
		path = "/v1/chat/completions"
	}
	req, err := http.NewRequestWithContext(bounded(t, 20*time.Second), method, d.URL+path, strings.NewReader(row.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for line := range strings.Lines(row.header) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if name == "Host" {
			req.Host = value
		}
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var reply struct{ Error *Error }
	if err := json.Unmarshal(raw, &reply); err != nil || reply.Error == nil || reply.Error.Message == "" || reply.Error.Type == "" {
		t.Fatalf("status %d, not an OpenAI error: %.300s", resp.StatusCode, raw)
	}
	e := reply.Error
	if resp.StatusCode != row.status || (row.code != "" && e.Code != row.code) || !strings.Contains(e.Message+" "+e.Param, row.says) {
		t.Errorf("status %d code %q param %q message %q; want %d %q with %q", resp.StatusCode, e.Code, e.Param, e.Message, row.status, row.code, row.says)
	}
	if row.status == 405 && resp.Header.Get("Allow") == "" {
		t.Error("405 without Allow")
	}
	if resp.Header.Get("X-Request-Id") == "" {
		t.Error("no X-Request-Id")
	}
}

// A start that can't succeed says why, exits non-zero and leaves no group.
func TestBadStarts(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := taken.Addr().String()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, config, says string
		hybrid             bool // only refused where the controllers are missing
	}{
		{"unknown key", "colour = \"red\"\n", "colour", false},
		{"unknown section", "[paint]\ncolour = \"red\"\n", "paint", false},
		{"unknown backend kind", "[backends.x]\nkind = \"magic\"\ncommand = \"/bin/true\"\n", "magic", false},
		{"broken TOML", "[limits\n", "penstock.toml:", false},
		{"open to the world without tokens", "listen = [\"0.0.0.0:0\"]\n", "token", false},
		{"port taken", "listen = [\"" + busy + "\"]\n", busy, false},
		{"state_dir is a file", "state_dir = \"" + file + "\"\n", file, false},
		{"state_dir on a read-only file system", "state_dir = \"/proc/penstock\"\n", "/proc/penstock", false},
		{"cap over the budget", "[budget]\nmemory = \"1GiB\"\n[limits]\nmemory_max = \"2GiB\"\n", "memory_max", false},
		{"strict where the kernel can't", "[isolation]\nmode = \"strict\"\n", "controller", true},
		{"tokens file missing", "tokens_file = \"/nowhere/tokens\"\n", "/nowhere/tokens", false},
		{"negative duration", "[limits]\ntimeout = \"-5s\"\n", "timeout", false},
		{"cpu cap nobody holds", "[limits]\ncpu_max = \"150%\"\n", "cpu_max", true},
		{"size nonsense", "[limits]\nmemory_max = \"two\"\n", "memory_max", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := launch(t, row.config)
			if row.hybrid && d.waitReady(3*time.Second) == nil {
				if !d.Enforces() {
					t.Error("it started, but nobody enforces")
				}
				d.Stop() // a kernel with controllers: there is nothing to refuse
				return
			}
			select {
			case <-d.Exited():
			case <-time.After(15 * time.Second):
				_ = d.Cmd.Process.Kill()
				t.Fatal("still running after 15 s")
			}
			if code := d.ExitCode(); code != 1 {
				t.Errorf("exit status %d, want 1", code)
			}
			if !strings.Contains(d.Log(), row.says) || strings.Contains(d.Log(), "goroutine ") {
				t.Errorf("says %q; want %q in it", d.Log(), row.says)
			}
		})
	}
}

// launch is Launch with a configuration that replaces the usual first keys.
func launch(t *testing.T, config string) *Daemon {
	return Launch(t, Options{Config: config, Bare: true})
}

// The self-test runs the daemon's own program: a host, or a container, may have
// none that it could borrow.
func TestSelfTestNeedsNoProgramOfTheHosts(t *testing.T) {
	d := Start(t, Options{Config: small, Env: map[string]string{"PATH": "/nonexistent"}})
	h, err := d.Health()
	if err != nil {
		t.Fatal(err)
	}
	if cage, _ := h["isolation"].(map[string]any); cage["self_test"] != "passed" {
		t.Errorf("isolation %v\n%s", cage, d.Log())
	}
}
