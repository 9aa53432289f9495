package metrics

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

func TestRunIDIsAnExemplarOnly(t *testing.T) {
	m := exercised()
	if text := exposition(t, m, ""); strings.Contains(text, "run_1") || strings.Contains(text, "req_1") {
		t.Error("an id is a label")
	}
	text := exposition(t, m, "application/openmetrics-text")
	if !strings.HasSuffix(text, "# EOF\n") {
		t.Error("not OpenMetrics")
	}
	for name, want := range map[string]string{
		"penstock_run_duration_seconds_bucket":             `# {run_id="run_1"} 3.0 `,
		"penstock_run_time_to_first_output_seconds_bucket": `# {run_id="run_1"} 0.02 `,
		"penstock_run_spawn_seconds_bucket":                `# {run_id="run_1"} 0.001 `,
		"penstock_run_teardown_seconds_bucket":             `# {run_id="run_1"} 0.001 `,
		"penstock_queue_wait_seconds_bucket":               `# {run_id="run_1"} 1.0 `,
		"penstock_http_request_duration_seconds_bucket":    `# {request_id="req_1"} 0.001 `,
		"penstock_runs_finished_total":                     `# {run_id="run_1"} 1.0 `,
		"penstock_runs_oom_kills_total":                    `# {run_id="run_1"} 1.0 `,
	} {
		if !exemplified(text, name, want) {
			t.Errorf("%s has no exemplar %s", name, want)
		}
	}
}

func exemplified(text, name, exemplar string) bool {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, name+"{") && strings.Contains(line, exemplar) {
			return true
		}
	}
	return false
}

// A long id must not make the library panic or drop the observation.
func TestLongExemplar(t *testing.T) {
	m := New(Options{})
	m.HTTPRequest("/", "GET", 200, time.Second, strings.Repeat("x", 128))
	want(t, exposition(t, m, ""), `penstock_http_request_duration_seconds_count{code="200",method="GET",route="/"} 1`)
}

// Who asks for protobuf gets native histograms beside the classic buckets.
func TestHistogramsAreClassicAndNative(t *testing.T) {
	rec := scrape(t, exercised(), "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	in := expfmt.NewDecoder(rec.Body, expfmt.ResponseFormat(rec.Result().Header))
	histograms := 0
	for {
		var f dto.MetricFamily
		if err := in.Decode(&f); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if f.GetType() != dto.MetricType_HISTOGRAM || !strings.HasPrefix(f.GetName(), "penstock_") {
			continue
		}
		histograms++
		for _, m := range f.GetMetric() {
			h := m.GetHistogram()
			if len(h.GetBucket()) < 5 || len(h.GetPositiveSpan()) == 0 || h.GetSchema() < 2 {
				t.Errorf("%s: %d classic buckets, %d native spans of schema %d", f.GetName(), len(h.GetBucket()), len(h.GetPositiveSpan()), h.GetSchema())
			}
		}
	}
	if histograms != 9 {
		t.Errorf("%d histograms, want 9", histograms)
	}
}
