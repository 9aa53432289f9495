package server

import (
	"context"
	"errors"
	"testing"
	"time"

	"penstock/config"
)

// A handover ends nobody's run between its slot and its birth.
func TestSettleLetsTheUnbornBegin(t *testing.T) {
	d := &daemon{jobs: newJobs(), config: config.Config{DrainTimeout: time.Hour}}
	d.waiting, d.endWaiting = context.WithCancel(t.Context())
	j := newJob("unborn", "c", true)
	j.cancel = func(error) { t.Error("it was ended") }
	if _, err := d.jobs.claim(j, func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	go func() {
		<-d.waiting.Done()
		j.begin(nil, errors.New("not born after all"))
		close(j.gone)
	}()
	if !d.settle(t.Context()) {
		t.Error("it was not waited for")
	}
}
