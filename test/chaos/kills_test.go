package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"penstock/test/daemon"
)

// kills is a world whose daemon is killed with SIGKILL again and again, and
// what came of its runs.
type kills struct {
	*world
	current *daemon.Daemon
	births  string       // a directory: each birth adds its pid to its run's file
	count   atomic.Int64 // of kills and of starts: odd is between the two
	crew    sync.WaitGroup

	mu        sync.Mutex
	lived     map[string]bool // ids of groups that had a process when the daemon was dead
	logs      strings.Builder // of the daemons that were killed
	durable   int
	disturbed int
	causes    map[string]int
	faults    map[string]int
}

// The kinds of fault that are counted.
const (
	lostAlive = "lost that lived"
	doubled   = "doubled"
	leaked    = "leaked"
	wrong     = "wrong causes"
)

// A long row of runs, durable ones and others, under a daemon that is killed at
// any moment, half of the time just after a birth. A durable run that lives is
// adopted by the next daemon and ends as it had to; any other is ended and told
// as lost; none is run twice, and nothing is left.
func TestRunsAcrossKills(t *testing.T) {
	const workers = 10
	runs, seed := environment(t)
	enough := time.Hour
	if runs == 0 {
		runs, enough = shortRow, shortTime
	}
	w := open(t, "100%", []string{free})
	w.patient = true
	k := &kills{world: w, current: w.Daemon, births: w.shared, lived: map[string]bool{}, causes: map[string]int{}, faults: map[string]int{}}
	scripts, left := usable(killScripts(), w, os.Getenv("PENSTOCK_CHAOS_ONLY"))
	t.Logf("seed %d, %d runs, limits held by the kernel: %v; scripts this machine can't show: %v", seed, runs, w.kernel, left)
	begun, mounts := time.Now(), w.Mounts()
	next, handedOut, over := make(chan int), make(chan struct{}), make(chan struct{})
	for range workers {
		k.crew.Go(func() {
			for n := range next {
				k.one(t, scripts, seed, n)
			}
		})
	}
	done := 0
	go func() {
		for ; done < runs && time.Since(begun) < enough; done++ {
			next <- done
		}
		close(next)
		close(handedOut)
		k.crew.Wait()
		close(over)
	}()
	r := rand.New(rand.NewPCG(seed, 1<<40))
	for !isClosed(over) {
		if isClosed(handedOut) {
			// An answer of 131 000 lines is begun anew by each kill: let the last ones come to an end.
			select {
			case <-over:
				continue
			case <-time.After(20 * time.Second):
			}
		}
		k.kill(t, r, over)
	}
	took := time.Since(begun)
	k.nothingIsLeft(t, mounts)
	if runs >= shortRow && k.count.Load() == 0 {
		t.Error("the daemon was never killed")
	}
	t.Logf("%d runs in %.1f s, %d of them in an image: %d durable, %d kills of the daemon, %d runs disturbed by one, %d runs alive without a daemon; causes %s",
		done, took.Seconds(), k.inBox.Load(), k.durable, k.count.Load()/2, k.disturbed, len(k.lived), sorted(k.causes))
	t.Logf("%d %s, %d %s, %d %s, %d %s", k.faults[lostAlive], lostAlive, k.faults[doubled], doubled, k.faults[leaked], leaked, k.faults[wrong], wrong)
}

// kill ends the daemon at some moment and starts the next one.
func (k *kills) kill(t *testing.T, r *rand.Rand, over <-chan struct{}) {
	t.Helper()
	if r.IntN(2) == 0 {
		k.awaitBirth(over)
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
	} else {
		select {
		case <-over:
		case <-time.After(time.Duration(500+r.IntN(8000)) * time.Millisecond):
		}
	}
	if isClosed(over) {
		return
	}
	k.count.Add(1)
	if err := k.current.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-k.current.Exited()
	k.noteLiving()
	k.complaints(t)
	k.current = k.current.Restart(t)
	k.count.Add(1)
	if r.IntN(4) > 0 { // else the next one is killed while it still adopts
		time.Sleep(time.Duration(r.IntN(5000)) * time.Millisecond)
	}
}

// awaitBirth returns when a group has appeared, or soon.
func (k *kills) awaitBirth(over <-chan struct{}) {
	runs := filepath.Join(k.root, "runs")
	before, _ := os.ReadDir(runs)
	known := map[string]bool{}
	for _, e := range before {
		known[e.Name()] = true
	}
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end) && !isClosed(over); time.Sleep(2 * time.Millisecond) {
		now, _ := os.ReadDir(runs)
		if slices.ContainsFunc(now, func(e os.DirEntry) bool { return e.IsDir() && !known[e.Name()] }) {
			return
		}
	}
}

// noteLiving takes note of the groups that hold a process now.
func (k *kills) noteLiving() {
	dirs, _ := os.ReadDir(filepath.Join(k.root, "runs"))
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, d := range dirs {
		if d.IsDir() && len(k.pids(d.Name())) > 0 {
			k.lived[d.Name()] = true
		}
	}
}

// complaints of the daemon that has just been killed: it had no reason for any error.
func (k *kills) complaints(t *testing.T) {
	t.Helper()
	k.mu.Lock()
	k.logs.WriteString(k.current.Log())
	k.mu.Unlock()
	for line := range strings.Lines(k.current.Log()) {
		if strings.Contains(line, `"level":"ERROR"`) {
			t.Errorf("the daemon complains: %s", line)
		}
	}
}

// nothingIsLeft, and the last daemon accounts for no more than there is.
func (k *kills) nothingIsLeft(t *testing.T, mounts int) {
	t.Helper()
	k.complaints(t)
	if err := until(goneWithin, func() error {
		if g, p := k.Groups(), append(k.marked(), bubblewraps()...); len(g)+len(p) > 0 {
			return fmt.Errorf("groups %v, processes %v", g, p)
		}
		if now := k.current.Mounts(); now != mounts {
			return fmt.Errorf("%d mounts, %d before", now, mounts)
		}
		if n := sum(k.metrics(), "penstock_reserved_memory_bytes"); n != 0 {
			return fmt.Errorf("%v bytes reserved by no run", n)
		}
		return nil
	}); err != nil {
		k.faults[leaked]++
		t.Errorf("left at the end: %v", err)
	}
}

// one carries out run number n of a sequence.
func (k *kills) one(t *testing.T, scripts []script, seed uint64, n int) {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	s := choose(r, scripts)
	p := s.write(r, k.world)
	p.name, p.tag, p.stream = s.name, fmt.Sprintf("%d-%d", seed, n), either(r)
	p = k.box(p, seed, n)
	if p.act.do == nil && p.backend != "demo" {
		p.durable = either(r)
	}
	if slices.Contains([]string{"sh", "lines", "tight", "still"}, strings.TrimSuffix(p.backend, boxed)) {
		p.prompt = fmt.Sprintf("echo $$ >>%s/%s\n%s", k.births, p.tag, p.prompt)
	}
	before := k.count.Load()
	a := k.carryOut(p)
	fault, err := k.judge(a, before)
	k.mu.Lock()
	defer k.mu.Unlock()
	if p.durable {
		k.durable++
	}
	if !k.undisturbed(before) {
		k.disturbed++
	}
	k.causes[a.want.cause]++
	if err != nil {
		k.faults[fault]++
		t.Errorf("%s: %s %s (durable %v, stream %v, run %s, want %s, %d kills meanwhile):\n  %v\n  prompt %.300q extra %v",
			fault, a.tag, a.name, a.durable, a.stream, a.id, a.want.cause, (k.count.Load()-before+1)/2, err, a.prompt, a.extra)
		for line := range strings.Lines(k.logs.String()) {
			if a.id != "" && strings.Contains(line, a.id+`"`) && !strings.Contains(line, "run_id_conflict") {
				t.Logf("  %.600s", line)
			}
		}
	}
}

// undisturbed: no kill since.
func (k *kills) undisturbed(before int64) bool { return before%2 == 0 && k.count.Load() == before }

// carryOut asks; what is durable is asked for until it has an end, any other
// only while no connection can be made.
func (k *kills) carryOut(p plan) *attempt {
	if p.tidy != nil {
		defer p.tidy()
	}
	begun := time.Now()
	for ; ; time.Sleep(50 * time.Millisecond) {
		bare := p
		bare.tidy = nil
		a := k.perform(bare, free)
		refused := errors.Is(a.err, syscall.ECONNREFUSED) && a.failed == nil
		cut := a.err != nil || a.answer.Finish == "" && a.answer.Error == nil
		// A name that is taken for a moment is no fault, one that stays so is.
		conflict := a.answer != nil && a.answer.Code() == "run_id_conflict" && time.Since(begun) < patience/8
		if again := refused || p.durable && (cut || conflict); !again || time.Since(begun) > 4*patience { // each kill begins the answer anew
			return a
		}
	}
}

// judge tells what is wrong with what came of a run. Of one that no kill has
// disturbed all must be as it had to.
func (k *kills) judge(a *attempt, before int64) (fault string, err error) {
	if n := k.born(a); n > 1 {
		return doubled, fmt.Errorf("started %d times", n)
	}
	_, err = a.verify()
	if err == nil {
		return "", nil
	}
	r, missing := k.find(a)
	if missing != nil && (a.want.either || a.waitedTooLong() && k.born(a) == 0) {
		return "", nil // it was not started
	}
	if k.undisturbed(before) {
		return wrong, err
	}
	if a.failed != nil {
		return wrong, a.failed
	}
	if missing == nil && a.id == "" {
		a.id = r.ID
	}
	if missing != nil {
		if a.want.unborn {
			return "", nil
		}
		if a.durable {
			return wrong, fmt.Errorf("durable, and without a record: %w; told %+v", missing, a.answer)
		}
		if k.born(a) > 0 {
			return wrong, fmt.Errorf("it was started and has no record: %w", missing)
		}
		return "", nil
	}
	if k.exists(a.id) {
		return leaked, fmt.Errorf("its group is still there: %v", k.pids(a.id))
	}
	if a.durable {
		if told := a.toldOtherwise(r); told != nil {
			return wrong, told
		}
	}
	if k.excused(a, r) {
		return "", nil
	}
	if r.Cause == "lost" {
		return lostAlive, fmt.Errorf("record %+v", r)
	}
	return wrong, fmt.Errorf("record %+v; undisturbed: %w", r, err)
}

// waitedTooLong: its deadline passed while it waited for a slot.
func (a *attempt) waitedTooLong() bool {
	return a.want.cause == "timeout" && a.answer != nil && a.answer.Code() == "queue_timeout"
}

// toldOtherwise compares what the client was told with the record, and a whole
// answer with what it had to be.
func (a *attempt) toldOtherwise(r record) error {
	b := a.answer
	switch {
	case a.err != nil:
		return fmt.Errorf("no whole answer: %w", a.err)
	case b.Code() != "" && b.Code() != r.Cause, (b.Finish == "stop") != (r.Cause == "completed"):
		return fmt.Errorf("told %q %q, recorded %q (%s)", b.Code(), b.Finish, r.Cause, r.Message)
	case b.Finish == "stop" && a.want.text != nil && !a.want.text.MatchString(b.Text):
		return fmt.Errorf("text %.200q, want %.200s", b.Text, a.want.text)
	}
	return nil
}

// find waits until the run's record says that it is over.
func (k *kills) find(a *attempt) (r record, err error) {
	gone := until(goneWithin, func() error {
		if a.id == "" {
			r, err = k.tagged(a.client, "", a.tag)
		} else if r, err = k.known(a.client, a.id); err == nil && r.Metadata.Tag != a.tag {
			err = fmt.Errorf("record of another: %+v", r)
		}
		if err == nil && r.State != "finished" {
			return fmt.Errorf("run %s is still %s", r.ID, r.State)
		}
		return nil
	})
	return r, errors.Join(err, gone)
}

// known is the record of a run that must have one.
func (k *kills) known(client, id string) (record, error) {
	status, r, err := k.record(client, id)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("GET /v1/runs/%s: status %d", id, status)
	}
	return r, err
}

// born counts the run's births.
func (k *kills) born(a *attempt) int {
	text, _ := os.ReadFile(filepath.Join(k.births, a.tag))
	return strings.Count(string(text), "\n")
}

// excused: what a kill of the daemon may do to a run. One that isn't durable is
// ended at the next start. A durable one that was never born, or that ended
// with its exit status as its only word while it was no daemon's child, is lost.
func (k *kills) excused(a *attempt, r record) bool {
	k.mu.Lock()
	lived := k.lived[r.ID]
	k.mu.Unlock()
	switch {
	case r.Cause == a.want.cause:
		return true // told before, and only its client could not hear it
	case r.Cause != "lost":
		return false
	case !a.durable:
		return true
	case a.want.certain:
		return !lived && k.born(a) == 0
	}
	return true
}

// killScripts are those whose end needs no help, and some for durable
// runs that live over a kill.
func killScripts() []script {
	return slices.Concat(slices.DeleteFunc(slices.Concat(plainScripts, limitScripts, endedScripts), func(s script) bool {
		return helped.MatchString(s.name)
	}), acrossScripts)
}

// helped are scripts that need an act from outside at their moment.
var helped = regexp.MustCompile("^(kill|gone|cancel)-|^durable$|-(queued|cancelled)$")

var acrossScripts = []script{
	{"works", 25, nothing, func(r *rand.Rand, _ *world) plan {
		n := 2 + r.IntN(20)
		var text strings.Builder
		for i := range n {
			text.WriteString("w" + strconv.Itoa(i+1) + " ")
		}
		children, _ := family(r)
		return plan{backend: "lines", prompt: fmt.Sprintf("%si=0; while [ $i -lt %d ]; do i=$((i+1)); echo '{\"text\":\"w'$i' \"}'; sleep 0.2; done; echo '{\"done\":true}'", children, n),
			want: end{cause: "completed", exit: -1, text: exactly(text.String()), certain: true}}
	}},
	{"fails", 8, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "lines", prompt: fmt.Sprintf("sleep %d.%d; echo '{\"error\":\"sorrow\"}'", r.IntN(3), r.IntN(10)),
			want: end{cause: "cli_error", exit: -1, says: []string{"sorrow"}, certain: true}}
	}},
	{"gone-any-time", 6, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "sh", prompt: "exec sleep 300", act: act{sent, leaveSoon(r)}, want: end{cause: "client_gone", either: true, exit: -1}}
	}},
	{"cancel-any-time", 6, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "sh", durable: true, prompt: "exec sleep 300", act: act{listed, cancelOrEnd}, want: end{cause: "cancelled", either: true, exit: -1}}
	}},
}

// cancelOrEnd asks until the run is cancelled, or has ended otherwise.
func cancelOrEnd(a *attempt) error {
	return until(patience/8, func() error {
		if a.ctx.Err() != nil {
			return nil
		}
		status, err := a.ask("POST", "/v1/runs/"+a.id+"/cancel", a.client, nil)
		if err == nil && status != http.StatusAccepted && status != http.StatusOK {
			err = fmt.Errorf("cancel %q: status %d", a.id, status)
		}
		return err
	})
}
