package metrics

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"penstock/admit"
	"penstock/run"
	"penstock/spawn"
)

// One series that can't be told must not hide the others, nor go unnoticed.
func TestABadSeriesHidesNoOther(t *testing.T) {
	var log bytes.Buffer
	m := New(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	s := busy()
	s.cage.Memory = "\xff"
	m.Watch(Sources{
		Snapshot: func() run.Snapshot { return s.snapshot }, Admission: func() admit.Stats { return s.gate },
		Isolation: func() spawn.Isolation { return s.cage }, Health: func() Health { return s.health },
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

func TestScrapesAtOnceAreBounded(t *testing.T) {
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
