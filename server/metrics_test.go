package server

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/config"
)

func TestMetrics_RouteTemplates(t *testing.T) {
	s := serve(t, nil)
	s.ask("GET", "/v1/models/upper/big", "")
	s.ask("GET", "/v1/runs/nope", "")
	s.ask("GET", "/nope/really", "")
	for _, series := range []string{
		`penstock_http_requests_total{code="200",method="GET",route="/v1/models/{id}"}`,
		`penstock_http_requests_total{code="404",method="GET",route="/v1/runs/{id}"}`,
		`penstock_http_requests_total{code="404",method="GET",route="unmatched"}`,
	} {
		// A request is counted when its reply has gone.
		eventually(t, series, func() bool { return s.metric(series) == 1 })
	}
}

// A stream may last for an hour: its bytes are counted as they go.
func TestMetrics_StreamBytes(t *testing.T) {
	s := serve(t, nil)
	if r := s.chat("nope", "x", true, ""); r.status != 404 {
		t.Fatalf("%+v", r)
	}
	if n := s.metric("penstock_stream_bytes_total"); n != 0 {
		t.Errorf("a refusal is counted as %v bytes of a stream", n)
	}
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	resp, err := s.do(ctx, "POST", "/v1/chat/completions", chatBody("sh", "echo hello; exec sleep 60", true, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var read []byte
	for !strings.Contains(string(read), "hello") {
		piece := make([]byte, 4096)
		n, err := resp.Body.Read(piece)
		if read = append(read, piece[:n]...); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.metric("penstock_stream_bytes_total"); n < float64(len(read)) {
		t.Errorf("%v bytes are counted, %d have come", n, len(read))
	}
	if n := s.metric("penstock_streams_open"); n != 1 {
		t.Errorf("%v streams are open", n)
	}
	leave()
	_, _ = io.Copy(io.Discard, resp.Body)
	eventually(t, "the stream is closed", func() bool { return s.metric("penstock_streams_open") == 0 })
}

// From a slow request in a dashboard one finds its log line.
func TestMetrics_Exemplars(t *testing.T) {
	s := serve(t, nil)
	r := s.chat("upper", "x", false, "", "X-Request-Id", "find-me", "X-Run-Id", "its-run")
	if r.text != "X" {
		t.Fatalf("%+v", r)
	}
	body := ""
	eventually(t, "the request is counted", func() bool {
		body = s.ask("GET", "/metrics", "", "Accept", "application/openmetrics-text").body
		return strings.Contains(body, `# {request_id="find-me"}`)
	})
	for _, name := range []string{"penstock_run_spawn_seconds", "penstock_run_duration_seconds", "penstock_queue_wait_seconds"} {
		if !hasExemplar(body, name, `# {run_id="its-run"}`) {
			t.Errorf("%s has no exemplar of the run", name)
		}
	}
}

func hasExemplar(body, name, exemplar string) bool {
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, name+"_bucket") && strings.Contains(line, exemplar) {
			return true
		}
	}
	return false
}

func TestMetrics_Health(t *testing.T) {
	s := serve(t, nil)
	body := s.ask("GET", "/metrics", "").body
	for _, want := range []string{
		"penstock_ready 1", "penstock_wedged 0", `penstock_runs_active{backend="sh"} 0`, `penstock_budget_runs 4`, "penstock_cgroup_tree_processes 0",
		`penstock_runs_started_total{backend="upper",client="anonymous"} 0`, `penstock_build_info{commit="",goversion="go`,
	} {
		if !strings.Contains(body, "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
}

// A stream that has begun was answered with 200: only this tells.
func TestMetrics_FailedStarts(t *testing.T) {
	s := serve(t, func(c *config.Config) {
		gone := filepath.Join(t.TempDir(), "gone")
		if err := os.WriteFile(gone, []byte("\x00no program"), 0o755); err != nil {
			t.Fatal(err)
		}
		c.Backends["gone"] = config.Backend{Name: "gone", Kind: "exec", Command: []string{gone}, Configured: true, Limits: limitsOf()}
	})
	const absent, gone = `penstock_run_starts_failed_total{backend="absent",cause="cli_missing"}`, `penstock_run_starts_failed_total{backend="gone",cause="cli_missing"}`
	if body := s.ask("GET", "/metrics", "").body; !strings.Contains(body, absent+" 0\n") || !strings.Contains(body, gone+" 0\n") {
		t.Error("the first failure will be no increase")
	}
	for _, backend := range []string{"absent", "gone"} {
		if r := s.chat(backend, "x", true, ""); r.code() != "cli_missing" {
			t.Errorf("%+v", r)
		}
	}
	if a, g := s.metric(absent), s.metric(gone); a != 1 || g != 1 {
		t.Errorf("%v and %v are counted, one each has failed", a, g)
	}
}
