package powercut

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/test/daemon"
)

// job is one durable run and what was known of it when the power went.
type job struct {
	id, want string
	body     map[string]any

	births  int
	headers bool           // the client had the head of an answer
	text    bool           // and some of its text
	answer  *daemon.Answer // the whole of it
}

// asked is how often a job is asked for within a moment of the cut.
const asked = 7

// work has some clients ask for durable runs, of all lengths, from now on.
func (m *machine) work(r *rand.Rand, cut int) {
	m.old, m.jobs = append(m.old, m.jobs...), nil
	for n := range 2 + r.IntN(asked) {
		j := m.job(r, fmt.Sprintf("cut%d.%d", cut, n))
		m.jobs = append(m.jobs, j)
		p, d, pause := m.power, m.daemon, time.Duration(r.IntN(1200))*time.Millisecond
		p.clients.Go(func() {
			time.Sleep(pause)
			j.ask(d, p)
		})
	}
}

// job says words, one or many, with pauses or at once, and that it is done.
func (m *machine) job(r *rand.Rand, id string) *job {
	n := []int{1, 1, 5, 20, 300}[r.IntN(5)]
	pause := []string{"", "", "sleep 0.1;"}[r.IntN(3)]
	if n > 20 {
		pause = ""
	}
	var want strings.Builder
	for i := range n {
		fmt.Fprintf(&want, "w%d ", i+1)
	}
	script := fmt.Sprintf("echo born >>%s\ni=0; while [ $i -lt %d ]; do i=$((i+1)); echo '{\"text\":\"w'$i' \"}'; %s done; echo '{\"done\":true}'\n",
		filepath.Join(m.births, id), n, pause)
	return &job{id: id, want: want.String(), body: daemon.Body("lines", script, map[string]any{"stream": r.IntN(2) == 0})}
}

// ask notes what the client sees while there is power.
func (j *job) ask(d *daemon.Daemon, p *power) {
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	a, err := d.Durable(ctx, j.id, "", j.body, func(*daemon.Answer) {
		p.note(func() { j.headers, j.text = true, true })
	})
	if err == nil && (a.Finish != "" || a.Error != nil) {
		p.note(func() { j.headers, j.answer = true, a })
	}
}

// inspect looks at every run since the last cut, and at one of those before.
func (m *machine) inspect(t *testing.T, r *rand.Rand) {
	t.Helper()
	m.noStrangers(t)
	jobs := m.jobs
	if len(m.old) > 0 {
		jobs = append(jobs[:len(jobs):len(jobs)], m.old[r.IntN(len(m.old))])
	}
	for _, j := range jobs {
		if fault, err := m.judge(j); err != nil {
			m.faults[fault]++
			t.Errorf("%s: %s (births %d, headers %v, text %v, answer %+v): %v", fault, j.id, j.births, j.headers, j.text, j.answer, err)
		}
	}
	m.noStrangers(t)
}

// judge compares what the daemon has of a run with what was known of it, and
// then asks for it again, as its client would.
func (m *machine) judge(j *job) (fault string, err error) {
	status, record, err := m.daemon.Get("/v1/runs/" + j.id)
	if err != nil {
		return "no reply", err
	}
	known := status == http.StatusOK
	m.count(j, known)
	if !known && (j.births > 0 || j.text || j.answer != nil) {
		return "record lost", fmt.Errorf("GET /v1/runs/%s: status %d: %v", j.id, status, record)
	}
	if known && record["state"] != "finished" {
		return "not told", fmt.Errorf("nothing can run any more, and it is %v", record["state"])
	}
	if j.answer != nil && record["cause"] != causeOf(j.answer) {
		return "told otherwise", fmt.Errorf("its client was told %s, the record says %v (%v)", causeOf(j.answer), record["cause"], record["message"])
	}
	again, err := m.askAgain(j)
	if err != nil {
		return "no reply", err
	}
	return j.judgeAgain(again, known, record, m.born(j.id))
}

func (m *machine) count(j *job, known bool) {
	m.tally["runs"]++
	switch {
	case j.answer != nil:
		m.tally["whole answer"]++
	case j.text:
		m.tally["some text"]++
	case j.births > 0:
		m.tally["born, nothing told"]++
	case known:
		m.tally["recorded, not born"]++
	default:
		m.tally["never started and gone"]++
	}
}

func causeOf(a *daemon.Answer) string {
	if a.Finish == "stop" {
		return "completed"
	}
	return a.Code()
}

// askAgain sends the same request under the same name; a name that is taken for
// a moment is asked for again.
func (m *machine) askAgain(j *job) (a *daemon.Answer, err error) {
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	for begun := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		a, err = m.daemon.Durable(ctx, j.id, "", j.body, nil)
		if err != nil || a.Status != http.StatusConflict || time.Since(begun) > patience/12 {
			return a, err
		}
	}
}

// judgeAgain: a run that has a record has no second life, one without is begun
// now; what says that it is whole is whole.
func (j *job) judgeAgain(a *daemon.Answer, known bool, record map[string]any, births int) (fault string, err error) {
	told := fmt.Errorf("asked again: status %d, finish %q, error %+v, %d bytes of text", a.Status, a.Finish, a.Error, len(a.Text))
	switch {
	case a.Status == http.StatusConflict:
		return "name taken", told
	case births > 1:
		return "doubled", fmt.Errorf("started %d times: %w", births, told)
	case a.Finish == "stop" && a.Text != j.want:
		return "half an answer told as whole", told
	case a.Finish == "" && a.Error == nil:
		return "no end", told
	case known && a.Code() != "replay_gone" && record["cause"] != causeOf(a):
		return "told otherwise", fmt.Errorf("recorded %v: %w", record["cause"], told)
	case !known && a.Finish != "stop":
		return "not started anew", told
	}
	return "", nil
}

// noStrangers: every directory of a run is of one that the daemon knows.
func (m *machine) noStrangers(t *testing.T) {
	t.Helper()
	_, all, err := m.daemon.Get("/v1/runs?limit=1000")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	data, _ := all["data"].([]any)
	for _, r := range data {
		record, _ := r.(map[string]any)
		id, _ := record["id"].(string)
		known[id] = true
	}
	entries, err := os.ReadDir(filepath.Join(m.disk.Dir, "state", "runs"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !known[e.Name()] {
			m.faults["directory of no run"]++
			t.Errorf("%s is left of a run that the daemon doesn't know", e.Name())
		}
	}
}
