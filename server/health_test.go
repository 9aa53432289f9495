package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"penstock/run"
	"penstock/sandbox"
	"penstock/server/openai"
	"penstock/server/web"
	"penstock/spawn"
)

// Where runs could write to the daemon's records a durable run is refused, as an
// error of the request's, and told in words.
func TestChat_NotDurable(t *testing.T) {
	why := errors.New("/home/u/.local/state: writable")
	d, err := open(t.Context(), testConfig(t), Options{Logger: slog.New(slog.DiscardHandler), Log: func() LogState { return LogState{} }})
	if err != nil {
		t.Skipf("no daemon can be opened here: %v", err)
	}
	defer func() {
		if err := d.close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	d.notDurable = why
	f := d.facts()
	f.Backends = nil
	if got := f.Degraded(); len(got) != 1 || !strings.Contains(got[0], "durable runs are refused") || strings.Contains(got[0], "/") {
		t.Errorf("degraded: %q", got)
	}
	q, err := openai.DecodeChat([]byte(`{"model":"x","messages":[{"role":"user","content":"hi"}]}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.findOrLaunch(t.Context(), nil, &web.RequestInfo{Client: "c"}, q, newJob("mine", "c", true), time.Now(), nil)
	if e := web.AsError(err); e.Status != http.StatusBadRequest || e.Code != "not_durable" || e.Param != "X-Run-Id" || strings.Contains(e.Message, "/home") {
		t.Errorf("told %+v", e)
	}
	if e := notStarted("mine", fmt.Errorf("run mine: %w: %w", run.ErrNotDurable, why)); e.Code != "not_durable" {
		t.Errorf("told %+v", e)
	}
}

// All runs as other users need no wall: the permission bits are one.
func TestBackends_RecordsExposed(t *testing.T) {
	own, other := &configuredBackend{}, &configuredBackend{user: &run.User{UID: 54321}}
	open := spawn.Isolation{Store: sandbox.Unprotected, StoreOpen: errors.New("open")}
	for _, row := range []struct {
		agents backends
		is     spawn.Isolation
		fails  bool
	}{
		{backends{"a": own}, spawn.Isolation{Store: "landlock"}, false},
		{backends{"a": own, "b": other}, open, true},
		{backends{"b": other}, open, false},
	} {
		if err := row.agents.recordsExposed(row.is); (err != nil) != row.fails {
			t.Errorf("%+v: %v", row, err)
		}
	}
}
