package metrics

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"penstock/admit"
	"penstock/run"
	"penstock/spawn"
)

// One series that can't be told must not hide the others, nor go unnoticed.
func TestHandler_BadSeriesHidesNoOther(t *testing.T) {
	var log bytes.Buffer
	m := New(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	s := busy()
	s.isolation.Memory = "\xff"
	m.Watch(Sources{
		Snapshot: func() run.Snapshot { return s.snapshot }, Admission: func() admit.Stats { return s.admission },
		Isolation: func() spawn.Isolation { return s.isolation }, Health: func() Health { return s.health },
	})
	want(t, exposition(t, m, ""), "penstock_ready 1", `penstock_isolation_enforced{by="watch",resource="pids"} 1`)
	want(t, exposition(t, m, ""), `promhttp_metric_handler_errors_total{cause="gathering"} 1`)
	if !strings.Contains(log.String(), "penstock_isolation_enforced") {
		t.Errorf("the log doesn't tell: %s", &log)
	}
}

// reader takes nothing of a reply until it is let.
type reader struct {
	*httptest.ResponseRecorder
	once   sync.Once
	begun  chan<- struct{}
	letOff <-chan struct{}
}

func (r *reader) Write(p []byte) (int, error) {
	r.once.Do(func() { r.begun <- struct{}{} })
	<-r.letOff
	return r.ResponseRecorder.Write(p)
}

func TestScrape_AtOnceBounded(t *testing.T) {
	m := exercised()
	begun, letOff := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	ask := func(w http.ResponseWriter) { m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil)) }
	for range scrapesMax {
		all.Go(func() {
			w := &reader{ResponseRecorder: httptest.NewRecorder(), begun: begun, letOff: letOff}
			if ask(w); w.Code != 200 {
				t.Errorf("%d for one of %d at once", w.Code, scrapesMax)
			}
		})
	}
	for range scrapesMax {
		<-begun
	}
	over := httptest.NewRecorder()
	if ask(over); over.Code != http.StatusServiceUnavailable {
		t.Errorf("%d for one too many", over.Code)
	}
	close(letOff)
	all.Wait()
	scrape(t, m, "")
}

func TestHandler_PromtoolCheck(t *testing.T) {
	problems, err := testutil.GatherAndLint(exercised().Gatherer())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("NOT CHECKED: this machine has no promtool: apt-get install prometheus (make test does so)")
	}
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(exposition(t, exercised(), ""))
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	// The Go collector's own names are not ours to mend.
	lines = slices.DeleteFunc(lines, func(l string) bool { return l == "" || strings.HasPrefix(l, "go_") })
	if len(lines) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, strings.Join(lines, "\n"))
	}
}
