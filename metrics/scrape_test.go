package metrics

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"penstock/admit"
	"penstock/backend"
	"penstock/backend/kinds"
	"penstock/outcome"
	"penstock/run"
	"penstock/spawn"
)

const patience = 30 * time.Second

// plant is a daemon's lower floors with real groups, watched by metrics.
type plant struct {
	*Metrics
	spawner *spawn.Spawner
	runs    *run.Manager
	sleeper backend.Backend
}

func openPlant(t *testing.T) *plant {
	t.Helper()
	spawner, err := spawn.Open(t.Context(), spawn.Options{
		Cgroup: spawn.GroupOptions{Mode: "available", Name: fmt.Sprintf("metrics-test-%d", os.Getpid())},
	})
	if err != nil && strings.Contains(err.Error(), "no cgroup v2 tree") {
		t.Skipf("this machine has no cgroup v2 tree to make groups in: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := &plant{Metrics: New(Options{Backends: []string{"sleeper"}}), spawner: spawner}
	p.runs, err = run.Open(t.Context(), run.Options{StateDir: t.TempDir(), Spawner: spawner, Observer: p})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := p.runs.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := spawner.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	p.sleeper, err = kinds.New(backend.Config{Name: "sleeper", Kind: "exec"})
	if err != nil {
		t.Fatal(err)
	}
	p.Watch(Sources{
		Snapshot: p.runs.Snapshot, Isolation: spawner.Isolation,
		Admission: func() admit.Stats { return admit.Stats{} }, Health: func() Health { return Health{} },
	})
	return p
}

// sleep starts a run of two processes.
func (p *plant) sleep(t *testing.T) *run.Run {
	t.Helper()
	r, err := p.runs.Start(t.Context(), run.Spec{
		Backend: p.sleeper, Argv: []string{"/bin/sh", "-c", "sleep 600 & exec sleep 600"}, Env: []string{"PATH=/usr/bin:/bin"}, OutputMax: 1 << 20, LineMax: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// figures scrapes and parses; value gives the only series of a name.
func figures(t *testing.T, m *Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	all, err := parser.TextToMetricFamilies(scrape(t, m, "").Body)
	if err != nil {
		t.Fatalf("a scrape that Prometheus can't read: %v", err)
	}
	return all
}

func gaugeOf(all map[string]*dto.MetricFamily, name string) float64 {
	if f := all[name]; f != nil && len(f.Metric) == 1 {
		return f.Metric[0].GetGauge().GetValue()
	}
	return -1
}

// While groups die one after the other, each scrape is answered, whole, and never
// shows a run that was not there.
func TestScrape_DyingGroups(t *testing.T) {
	p := openPlant(t)
	const many = 40
	var runs []*run.Run
	for range many {
		runs = append(runs, p.sleep(t))
	}
	if n := gaugeOf(figures(t, p.Metrics), "penstock_runs_active"); n != many {
		t.Fatalf("%v runs are active, want %d", n, many)
	}
	dead := make(chan struct{})
	go func() {
		defer close(dead)
		for _, r := range runs {
			r.End(outcome.Cancelled)
		}
		for _, r := range runs {
			<-r.Ended()
		}
	}()
	last := float64(many)
	for end := time.After(patience); ; {
		n := gaugeOf(figures(t, p.Metrics), "penstock_runs_active")
		if n < 0 || n > last {
			t.Errorf("%v runs are active after %v", n, last)
		}
		last = n
		select {
		case <-dead:
		case <-end:
			t.Fatal("the runs don't end")
		default:
			continue
		}
		break
	}
	all := figures(t, p.Metrics)
	if n := gaugeOf(all, "penstock_runs_active"); n != 0 {
		t.Errorf("%v runs are active when all have ended", n)
	}
	ended := 0.0
	for _, m := range all["penstock_runs_finished_total"].GetMetric() {
		ended += m.GetCounter().GetValue()
	}
	if ended != many {
		t.Errorf("%v ends are counted, want %d", ended, many)
	}
}

// until scrapes as long as the figures aren't as they should be.
func (p *plant) until(t *testing.T, what string, ok func(map[string]*dto.MetricFamily) bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(figures(t, p.Metrics)); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// A frozen group runs nothing and dies of nothing but a kill; it is looked at and
// shown like any other.
func TestScrape_FrozenGroup(t *testing.T) {
	p := openPlant(t)
	r := p.sleep(t)
	two := func(all map[string]*dto.MetricFamily) bool { return gaugeOf(all, "penstock_cgroup_pids") == 2 }
	p.until(t, "both processes are there", two)
	freeze := filepath.Join(p.spawner.Isolation().Root, "runs", r.ID(), "cgroup.freeze")
	if err := os.WriteFile(freeze, []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	frozen := float64(time.Now().UnixMilli()) / 1000
	p.until(t, "the frozen group is looked at", func(all map[string]*dto.MetricFamily) bool {
		return gaugeOf(all, "penstock_sample_timestamp_seconds") > frozen && two(all)
	})
	r.End(outcome.Cancelled)
	select {
	case <-r.Ended():
	case <-time.After(patience):
		t.Fatal("the frozen run doesn't end")
	}
}
