package chaos

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
)

// goneWithin is how long a run whose client left may still be there: the
// specification says a second, the lab's one processor is shared.
const goneWithin = 5 * time.Second

// verify compares what came of an attempt with what had to.
func (a *attempt) verify() (born bool, err error) {
	if a.failed != nil {
		return false, a.failed
	}
	if left := a.want.cause == "client_gone"; left || a.act.do != nil && a.durable && a.want.cause == "completed" {
		if a.err == nil {
			return false, fmt.Errorf("its client left, and still read all of %+v", a.answer)
		}
		if left {
			return a.verifyGone()
		}
		a.again()
	}
	if a.err != nil {
		return false, fmt.Errorf("no whole answer: %w", a.err)
	}
	born, err = a.verifyRecord()
	return born, errors.Join(a.verifyAnswer(born), err)
}

// verifyGone: no client is left to answer; the record tells.
func (a *attempt) verifyGone() (born bool, err error) {
	if a.want.unborn {
		return false, a.neverBorn()
	}
	if a.want.either {
		if _, err := a.tagged(a.client, "", a.tag); err != nil {
			return false, nil // the caller has waited until nothing could come any more
		}
	}
	var last record
	err = until(goneWithin, func() error {
		r, err := a.tagged(a.client, "", a.tag)
		if err == nil && r.State != "finished" {
			err = fmt.Errorf("run %s is still %s", r.ID, r.State)
		}
		last = r
		return err
	})
	if last.ID == "" || err != nil {
		return false, err
	}
	a.id = last.ID
	return a.verifyRecord()
}

// neverBorn: a request that was refused leaves no record and no group.
func (a *attempt) neverBorn() error {
	if a.id == "" {
		return errors.New("the run's id was never told")
	}
	return until(goneWithin, func() error {
		status, r, err := a.record(a.client, a.id)
		if err == nil && status != http.StatusNotFound {
			err = fmt.Errorf("never started, but GET /v1/runs/%s: status %d, %+v", a.id, status, r)
		}
		if a.exists(a.id) {
			err = errors.Join(err, errors.New("never started, but it has a group"))
		}
		return err
	})
}

func (a *attempt) verifyAnswer(born bool) error {
	b := a.answer
	var wrong complaints
	if code := b.Code(); a.want.cause != "completed" && code != a.want.cause {
		wrong.add("code %q, want %q", code, a.want.cause)
	}
	completed := a.want.cause == "completed"
	if completed != (b.Finish == "stop") || completed != (b.Error == nil) {
		wrong.add("finish %q, error %+v", b.Finish, b.Error)
	}
	if a.stream && b.Status == http.StatusOK && !b.Done {
		wrong.add("no [DONE]")
	}
	if retry := b.Header.Get("x-should-retry"); born && b.Status != http.StatusOK && retry != "false" {
		wrong.add("x-should-retry %q of a run that was started", retry)
	}
	if status := a.status(born); b.Status != status && !(a.stream && b.Status == http.StatusOK) {
		wrong.add("status %d, want %d", b.Status, status)
	}
	// An error that is not streamed has no text before it.
	if (a.stream || completed) && a.want.text != nil && !a.want.text.MatchString(b.Text) {
		wrong.add("text %.200q, want %.200s", b.Text, a.want.text)
	}
	if b.Error != nil {
		for _, s := range a.want.says {
			if !strings.Contains(b.Error.Message, s) {
				wrong.add("message %q does not say %q", b.Error.Message, s)
			}
		}
	}
	return wrong.err()
}

func (a *attempt) status(born bool) int {
	switch {
	case a.want.cause == "completed":
		return http.StatusOK
	case born || a.want.status == 0:
		return http.StatusBadRequest
	}
	return a.want.status
}

// verifyRecord also looks whether anything is left: whoever reads the end of a
// run may rely on that, but where its CLI had said its last word and lived on.
func (a *attempt) verifyRecord() (born bool, err error) {
	if a.want.unborn {
		return false, a.neverBorn()
	}
	var status int
	var r record
	err = until(goneWithin, func() error {
		if status, r, err = a.record(a.client, a.id); err == nil && r.State == "ending" && r.Answered != nil && r.Cause == a.want.cause {
			err = errors.New("answered, and not gone")
		}
		return err
	})
	if err != nil {
		return false, err
	}
	group := a.exists(a.id)
	if a.want.either && status == http.StatusNotFound {
		return false, a.neverBorn()
	}
	var wrong complaints
	if group {
		wrong.add("its group is still there: %v", a.pids(a.id))
	}
	if status != http.StatusOK || r.State != "finished" || r.Cause != a.want.cause || r.Message == "" {
		wrong.add("record: status %d, %s, cause %q (%s)", status, r.State, r.Cause, r.Message)
	}
	if r.Metadata.Tag != a.tag || r.Client != a.client || r.Backend != a.backend {
		wrong.add("record of another: %+v", r)
	}
	a.verifyExit(&wrong, r)
	a.verifyReceipt(&wrong, r.Receipt)
	if told := a.told(); told != nil && r.Answered == nil && !reflect.DeepEqual(told, r.Receipt) {
		wrong.add("receipt told %v, recorded %v", told, r.Receipt)
	}
	return true, wrong.err()
}

// told is the receipt in the answer.
func (a *attempt) told() map[string]any {
	switch {
	case a.answer == nil:
		return nil
	case a.answer.Error != nil:
		return a.answer.Error.Receipt
	}
	return a.answer.Receipt
}

func (a *attempt) verifyExit(wrong *complaints, r record) {
	want := a.want
	switch {
	case want.exit < 0:
	case want.signal != "" && r.Signal != want.signal && (a.kernel || want.cause != "memory_limit"):
		wrong.add("signal %q, exit %v, want %s", r.Signal, r.Exit, want.signal)
	case want.signal == "" && (r.Exit == nil || *r.Exit != want.exit):
		wrong.add("exit %v, signal %q, want %d", r.Exit, r.Signal, want.exit)
	}
	if r.Survived < want.survived {
		wrong.add("%d processes after the leader, want %d at least", r.Survived, want.survived)
	}
}

func (a *attempt) verifyReceipt(wrong *complaints, receipt map[string]any) {
	by, _ := receipt["enforced_by"].(map[string]any)
	holder := "watch"
	if a.kernel {
		holder = "kernel"
	}
	if by["memory"] != holder || by["pids"] != holder || by["kill"] != "kernel" {
		wrong.add("enforced_by %v", by)
	}
	if !a.kernel {
		return
	}
	figures := map[string]float64{}
	for _, name := range []string{"memory_peak_bytes", "memory_max_bytes", "oom_kills", "pids_peak", "pids_max", "pids_refused", "cpu_user_usec"} {
		v, ok := receipt[name].(float64)
		if !ok {
			wrong.add("receipt lacks %s: %v", name, receipt)
		}
		figures[name] = v
	}
	peak, limit := figures["memory_peak_bytes"], figures["memory_max_bytes"]
	// The kernel lets a task that it is about to kill pass the limit by some pages.
	if peak > limit+64<<10 {
		wrong.add("memory peak %.0f over the limit %.0f", peak, limit)
	}
	if oom := figures["oom_kills"] > 0; oom != (a.want.cause == "memory_limit") {
		wrong.add("oom_kills %v", figures["oom_kills"])
	}
	if oom := a.want.cause == "memory_limit"; (oom || a.want.full) && peak < limit*0.8 {
		wrong.add("memory peak %.0f is far from the limit %.0f", peak, limit)
	}
	most := figures["pids_max"]
	if a.isBoxed() {
		most += ownTasks
	}
	if figures["pids_peak"] > most {
		wrong.add("pids peak %v over the limit %v", figures["pids_peak"], figures["pids_max"])
	}
	if refused := figures["pids_refused"] > 0; refused != a.want.refused {
		wrong.add("pids_refused %v", figures["pids_refused"])
	}
	if asked, ok := a.limit("pids_max"); ok && figures["pids_max"] != float64(asked) {
		wrong.add("pids_max %v, asked for %d", figures["pids_max"], asked)
	}
}

// ownTasks is what a group has room for beside its run's own tasks, where that is in an image:
// bubblewrap and process 1 need less, and their rest is the run's.
const ownTasks = 16

// complaints are all that is wrong with one run.
type complaints []string

func (c *complaints) add(format string, args ...any) { *c = append(*c, fmt.Sprintf(format, args...)) }

func (c complaints) err() error {
	if len(c) == 0 {
		return nil
	}
	return errors.New(strings.Join(slices.Compact(c), "\n  "))
}
