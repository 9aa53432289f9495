package prometheus

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"penstock/test/daemon"
)

// zero is all that a healthy host shows in these panels, by their legends.
var zero = map[string]string{
	"Groups left: leaked":                    "no group leaks in this test",
	"Status: status":                         "the daemon is well",
	"Pressure: memory":                       "runs end at their own limit long before the host is short",
	"Removed groups the kernel keeps: dying": "nothing is charged to a removed group for long",
}

func TestEveryPanelAndRuleHasData(t *testing.T) {
	d := started(t)
	target := strings.TrimPrefix(d.URL, "http://")
	s := serve(t, target, secret("prometheus"))
	begun := time.Now()
	ctx, stop := context.WithCancel(context.Background())
	clients := load(ctx, t, d)
	defer clients.Wait()
	defer stop()

	open := questions(t, s, target, lacking(t, d))
	asked := len(open)
	if err := daemon.Eventually(bound(), func() error {
		pause(ctx, scrapeInterval())
		left, err := unanswered(s, open, begun, time.Now())
		open = left
		return err
	}); err != nil {
		t.Fatalf("%v", err)
	}
	t.Logf("%d queries of panels and rules have data after %v", asked, time.Since(begun).Round(time.Second))
	alertsOf(t, s, d.Enforces())
	exemplars(t, s, begun)
	record(t, s, target, begun)
}

// question is a query that must have an answer.
type question struct {
	where, expr string
	instant     bool
	zero        bool // may be
}

// questions are all queries of all pages and all recording rules; those that
// this host can't answer are said.
func questions(t *testing.T, s *server, instance string, lacking map[string]string) []question {
	t.Helper()
	var all []question
	for _, p := range pages(t) {
		var values map[string]string
		if err := daemon.Eventually(bound(), func() (err error) { values, err = p.chosen(s, instance); return err }); err != nil {
			t.Fatalf("%s: %v", p.Title, err)
		}
		for _, panel := range p.Panels {
			if why := lacking[panel.Title]; why != "" {
				t.Logf("EMPTY HERE: %s: %s: %s", p.Title, panel.Title, why)
				continue
			}
			for _, q := range panel.Targets {
				all = append(all, question{p.Title + ": " + panel.Title, filled(q.Expr, values), !q.Range, zero[panel.Title+": "+q.LegendFormat] != ""})
			}
		}
	}
	for _, r := range rules(t, s) {
		if r.Type == "recording" {
			all = append(all, question{"rule", r.Name, true, false})
		}
	}
	return all
}

// unanswered are the questions without data yet; the error names them.
func unanswered(s *server, open []question, from, to time.Time) ([]question, error) {
	var left []question
	var words strings.Builder
	for _, q := range open {
		ask := s.instant
		if !q.instant {
			ask = func(expr string) ([]series, error) { return s.over(expr, from, to, scrapeInterval()) }
		}
		expr := windowed(q.expr, from, to, scrapeInterval())
		found, err := ask(expr)
		if err != nil || !told(found, q.zero) {
			left = append(left, q)
			fmt.Fprintf(&words, "\n%s: %s: %d series, none tells anything (%v)", q.where, expr, len(found), err)
		}
	}
	if len(left) == 0 {
		return nil, nil
	}
	return left, fmt.Errorf("%d queries have no data:%s", len(left), words.String())
}

// told is true for a number; also for 0 where nothing else can be.
func told(found []series, zero bool) bool {
	for _, one := range found {
		for _, p := range one.Points {
			if p.Value != "NaN" && (zero || p.Value != "0") {
				return true
			}
		}
	}
	return false
}

type rule struct {
	Type, Name, Query, Health, LastError, State string
}

func rules(t *testing.T, s *server) []rule {
	t.Helper()
	var found struct{ Groups []struct{ Rules []rule } }
	if err := s.get("rules", nil, &found); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range found.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 20 {
		t.Fatalf("Prometheus has only %d rules", len(all))
	}
	return all
}

// alertsOf holds every rule to be evaluated without an error, and the alerts to
// what this load is: some must be up, and what did not happen must not.
func alertsOf(t *testing.T, s *server, kernel bool) {
	t.Helper()
	up := map[string]bool{"PenstockRunsOutOfMemory": true, "PenstockRunsOutOfTasks": true, "PenstockRunsNotStarting": true, "PenstockRequestsRefused": true}
	if !kernel {
		up["PenstockLimitsNotKernelHeld"] = true
	}
	silent := []string{"PenstockDown", "PenstockRestarting", "PenstockNotReady", "PenstockGroupsLeaked", "PenstockFewFilesLeft"}
	if err := daemon.Eventually(bound(), func() error {
		state := map[string]string{}
		for _, r := range rules(t, s) {
			if r.Health != "ok" {
				return fmt.Errorf("rule %s: %s %s: %s", r.Name, r.Health, r.LastError, r.Query)
			}
			state[r.Name] = r.State
		}
		for _, name := range silent {
			// Pending is one look that was late: a scrape has no longer than the
			// interval, which is short here.
			if state[name] != "inactive" && state[name] != "pending" {
				t.Errorf("%s is %q, and nothing of the kind happened", name, state[name])
			}
		}
		if name := "PenstockLimitsNotKernelHeld"; kernel && state[name] != "inactive" {
			t.Errorf("%s is %q where the kernel holds them", name, state[name])
		}
		for name := range up {
			if state[name] == "inactive" || state[name] == "" {
				return fmt.Errorf("%s is %q under a load that is just that", name, state[name])
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// exemplars lead from a quantile to a run.
func exemplars(t *testing.T, s *server, from time.Time) {
	t.Helper()
	var found []struct {
		Exemplars []struct{ Labels map[string]string }
	}
	if err := s.get("query_exemplars", url.Values{
		"query": {"penstock_run_duration_seconds_bucket"},
		"start": {from.Format(time.RFC3339)}, "end": {time.Now().Add(time.Minute).Format(time.RFC3339)},
	}, &found); err != nil {
		t.Fatal(err)
	}
	for _, one := range found {
		for _, e := range one.Exemplars {
			if strings.HasPrefix(e.Labels["run_id"], "run_") {
				return
			}
		}
	}
	t.Errorf("no exemplar with a run's id: %v", found)
}
