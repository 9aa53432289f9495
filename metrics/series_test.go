package metrics

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"penstock/outcome"
	"penstock/run"
)

// Whatever names come in, the number of series doesn't grow with them.
func TestLabels_Bounded(t *testing.T) {
	m := watched(busy())
	strangers := func(from, to int) int {
		for i := from; i < to; i++ {
			name := fmt.Sprintf("stranger-%d", i)
			r := run.Record{ID: name, Backend: name, Client: name, Cause: outcome.Completed}
			m.RunStarted(r, time.Millisecond)
			m.FirstOutput(r, time.Millisecond)
			m.RunFinished(r, outcome.Outcome{Started: begun, Receipt: outcome.Receipt{CPUUserUsec: number(1)}})
			m.QueueWait(name, time.Second, name)
			m.Refused(name, "queue_full")
			m.HTTPRequest("unmatched", name, 405, time.Second, name)
		}
		text := exposition(t, m, "")
		if strings.Contains(text, "stranger") {
			t.Error("a name that is not configured is a label")
		}
		return strings.Count(text, "\n")
	}
	if few, many := strangers(0, 1), strangers(1, 200); few != many {
		t.Errorf("%d lines after one stranger, %d after 200", few, many)
	}
}

func TestSetClients(t *testing.T) {
	m := watched(busy())
	m.Refused("new", "queue_full")
	m.SetClients([]string{"new"})
	m.Refused("new", "queue_full")
	m.Refused("bot", "queue_full") // not a client any more
	want(t, exposition(t, m, ""), `penstock_admission_refused_total{client="new",reason="queue_full"} 1`,
		`penstock_admission_refused_total{client="other",reason="queue_full"} 2`,
		`penstock_runs_started_total{backend="idle",client="new"} 0`, `penstock_queue_waiting{client="new"} 0`)
}

func TestExemplar_RunID(t *testing.T) {
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
func TestExemplar_Long(t *testing.T) {
	m := New(Options{})
	m.HTTPRequest("/", "GET", 200, time.Second, strings.Repeat("x", 128))
	want(t, exposition(t, m, ""), `penstock_http_request_duration_seconds_count{code="200",method="GET",route="/"} 1`)
}

// A scrape that asks for protobuf gets native histograms beside the classic buckets.
func TestHandler_ClassicAndNativeHistograms(t *testing.T) {
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
