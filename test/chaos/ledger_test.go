package chaos

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// ledger is what must be found in the daemon's own accounts at the end.
type ledger struct {
	mu      sync.Mutex
	causes  map[string]int // of runs that were started
	refused map[string]int // of those that were not
	scripts map[string]int
	lines   map[string]entry  // by run id
	runs    map[string]string // by request id: a request that made no run has no other in the log
	later   []*attempt        // their client left before it could know what became of them
	wrong   int
	from    int // bytes of the log before the first of them
}

// entry is one run's line in the log.
type entry struct {
	cause  string
	status int // 0 is any
	name   string
	born   bool
}

func newLedger(w *world) *ledger {
	return &ledger{from: len(w.Log()), causes: map[string]int{}, refused: map[string]int{}, scripts: map[string]int{}, lines: map[string]entry{}, runs: map[string]string{}}
}

// enter takes one attempt into the accounts; one of which nobody can tell yet
// whether it was started waits for settle.
func (l *ledger) enter(t *testing.T, a *attempt) {
	if a.want.either && a.err != nil && a.failed == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.later = append(l.later, a)
		return
	}
	l.post(t, a)
}

// settle is for the end, when nothing waits or runs any more.
func (l *ledger) settle(t *testing.T) {
	for _, a := range l.later {
		l.post(t, a)
	}
}

func (l *ledger) post(t *testing.T, a *attempt) {
	born, err := a.verify()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.scripts[a.name]++
	if born {
		l.causes[a.want.cause]++
	} else {
		l.refused[a.want.cause]++
	}
	if a.id != "" && !a.durable { // a durable run has a line for each who asked
		e := entry{cause: a.want.cause, name: a.name, born: born}
		if a.answer != nil {
			e.status = a.answer.Status
			l.runs[a.answer.Header.Get("X-Request-Id")] = a.id
		}
		l.lines[a.id] = e
	}
	if err != nil {
		l.wrong++
		t.Errorf("%s %s (stream %v, run %s, want %s):\n  %v\n  prompt %.300q extra %v", a.tag, a.name, a.stream, a.id, a.want.cause, err, a.prompt, a.extra)
	}
}

// audit compares the accounts with the daemon's metrics and its log.
func (l *ledger) audit(t *testing.T, w *world, before map[string]float64) {
	t.Helper()
	now := w.metrics()
	since := func(name string, with ...string) float64 { return sum(now, name, with...) - sum(before, name, with...) }
	all := 0
	for cause, n := range l.causes {
		all += n
		if got := since("penstock_runs_finished_total", fmt.Sprintf("cause=%q", cause)); got != float64(n) {
			t.Errorf("penstock_runs_finished_total{cause=%q} %v, want %d", cause, got, n)
		}
	}
	for _, name := range []string{"penstock_runs_started_total", "penstock_runs_finished_total", "penstock_run_duration_seconds_count", "penstock_run_teardown_seconds_count"} {
		if got := since(name); got != float64(all) {
			t.Errorf("%s %v, want %d", name, got, all)
		}
	}
	if got := since("penstock_admission_refused_total"); got != float64(l.refused["queue_timeout"]) {
		t.Errorf("penstock_admission_refused_total %v, want %d", got, l.refused["queue_timeout"])
	}
	if killed := since("penstock_runs_oom_kills_total") > 0; w.kernel && killed != (l.causes["memory_limit"] > 0) {
		t.Errorf("penstock_runs_oom_kills_total %v, with %d runs out of memory", killed, l.causes["memory_limit"])
	}
	for _, name := range []string{"penstock_queue_waiting", "penstock_reserved_memory_bytes", "penstock_runs_active", "penstock_runs_stalled", "penstock_groups_leaked", "penstock_streams_open", "penstock_cgroup_tree_processes"} {
		if got := sum(now, name); got != 0 {
			t.Errorf("%s %v at the end", name, got)
		}
	}
	l.auditLog(t, w)
	t.Logf("causes %v; not started %v; scripts %v", sorted(l.causes), sorted(l.refused), sorted(l.scripts))
}

// auditLog wants exactly one line for each request, with its cause, one for the
// end of each run that was started, and no complaint.
func (l *ledger) auditLog(t *testing.T, w *world) {
	asked, ended := map[string]int{}, map[string]int{}
	lines := bufio.NewScanner(strings.NewReader(w.Log()[l.from:]))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			Msg, Level, Path, Cause, Code, Run string
			RunID                              string `json:"run_id"`
			RequestID                          string `json:"request_id"`
			Status                             int
			Receipt                            *struct {
				OOMKills *float64 `json:"oom_kills"`
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Errorf("log line %q: %v", lines.Bytes(), err)
			continue
		}
		if e.Level == "ERROR" || e.Level == "WARN" && e.Msg != "request" {
			t.Errorf("the daemon complains: %s", lines.Bytes())
		}
		id, cause := e.RunID+e.Run, e.Cause+e.Code
		if id == "" {
			id = l.runs[e.RequestID]
		}
		switch want, ok := l.lines[id]; {
		case !ok:
		case e.Msg == "run ended":
			ended[e.Run]++
			if e.Cause != want.cause || e.Receipt == nil || w.kernel && (e.Receipt.OOMKills == nil || (*e.Receipt.OOMKills > 0) != (want.cause == "memory_limit")) {
				t.Errorf("%s: want %q, log line %s", want.name, want.cause, lines.Bytes())
			}
		case e.Msg == "request" && strings.HasSuffix(e.Path, "/chat/completions"):
			asked[id]++
			if cause != want.cause || want.status != 0 && e.Status != want.status {
				t.Errorf("%s: want %q, %d, log line %s", want.name, want.cause, want.status, lines.Bytes())
			}
		}
	}
	for id, want := range l.lines {
		if asked[id] != 1 || (ended[id] == 1) != want.born || ended[id] > 1 {
			t.Errorf("%s %s: %d lines of its request in the log, %d of its end; started: %v", want.name, id, asked[id], ended[id], want.born)
		}
	}
}

func sorted(n map[string]int) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(n)) {
		fmt.Fprintf(&b, " %s:%d", k, n[k])
	}
	return strings.TrimSpace(b.String())
}

// few are what idle connections of the test itself may hold; a leak is one a run.
const few = 4

// state is what must be as it was when nothing runs.
type state struct {
	files, goroutines, dying float64
	mounts                   int
}

func (w *world) state(t *testing.T) state {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	routines := w.metrics()["go_goroutines"] // /health tells the last second's
	return state{files: float64(w.openFiles()), goroutines: routines, dying: w.flat("runs/cgroup.stat")["nr_dying_descendants"], mounts: w.Mounts()}
}

// nothingLeft compares with the state before.
func (w *world) nothingLeft(t *testing.T, before state) {
	t.Helper()
	var now state
	if err := until(goneWithin, func() error {
		if g, p := w.Groups(), append(w.marked(), bubblewraps()...); len(g)+len(p) > 0 {
			return fmt.Errorf("left: groups %v, processes %v", g, p)
		}
		if now = w.state(t); now.mounts != before.mounts {
			return fmt.Errorf("mounts: %d, before %d", now.mounts, before.mounts)
		}
		if now.files > before.files+few || now.goroutines > before.goroutines+few {
			return fmt.Errorf("grew: %+v, before %+v", now, before)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	t.Logf("before %+v, after %+v", before, now)
}
