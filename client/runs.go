package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"penstock/run"
)

// Run is a run's record, and how it is now.
type Run struct {
	run.Record
	Usage *Usage `json:"usage,omitempty"` // while its processes live
	Queue *Queue `json:"queue,omitempty"` // while it is queued
}

// States of a run; Queued is a request that has none yet.
const (
	Queued   run.State = "queued"
	Waiting            = run.Waiting
	Running            = run.Running
	Ending             = run.Ending
	Finished           = run.Finished
)

// Usage is what a live run used at the daemon's last look; nil is unknown.
type Usage struct {
	Sampled  time.Time `json:"sampled_at"`
	Stalled  bool      `json:"stalled"`
	Memory   *uint64   `json:"memory_bytes,omitempty"`
	Pids     *uint64   `json:"pids,omitempty"`
	CPUCores *float64  `json:"cpu_cores,omitempty"`
	CPUUsec  *uint64   `json:"cpu_usec,omitempty"`
	IOBytes  *uint64   `json:"io_bytes,omitempty"`
}

// Queue is where a queued request stands.
type Queue struct {
	For      string  `json:"for"`                // "slot" or "session"
	Position int     `json:"position,omitempty"` // from 1; 0 is none
	Waited   float64 `json:"waited_seconds"`
}

// Filter selects runs.
type Filter struct {
	State  string // "" is any, "live" all but finished
	Client string
	Limit  int // 0 is the daemon's own
}

// Runs are the ones selected, newest first.
func (c *Client) Runs(ctx context.Context, f Filter) ([]Run, error) {
	query := url.Values{}
	if f.State != "" {
		query.Set("state", f.State)
	}
	if f.Client != "" {
		query.Set("client", f.Client)
	}
	if f.Limit > 0 {
		query.Set("limit", strconv.Itoa(f.Limit))
	}
	var reply struct{ Data []Run }
	_, err := c.ask(ctx, request{method: http.MethodGet, path: "/v1/runs?" + query.Encode()}, &reply)
	return reply.Data, err
}

// Run is one run by its whole id.
func (c *Client) Run(ctx context.Context, id string) (Run, error) {
	var r Run
	_, err := c.ask(ctx, request{method: http.MethodGet, path: runPath(id)}, &r)
	return r, err
}

// Cancel ends a run, or keeps it from starting; over tells that there was
// nothing left to end. It does not wait for the end.
func (c *Client) Cancel(ctx context.Context, id string) (r Run, over bool, err error) {
	status, err := c.ask(ctx, request{method: http.MethodPost, path: runPath(id) + "/cancel"}, &r)
	return r, status == http.StatusOK, err
}

// Wait waits for a run's end and gives its record.
func (c *Client) Wait(ctx context.Context, id string) (Run, error) {
	// Past every event: only the end is sent.
	s, err := c.Events(ctx, id, math.MaxInt64)
	if err == nil {
		defer s.Close()
		for err == nil {
			_, err = s.Next()
		}
	}
	var told *Error
	if err != nil && !errors.Is(err, io.EOF) && !errors.As(err, &told) {
		return Run{}, err
	}
	for {
		r, err := c.Run(ctx, id)
		if err != nil || r.Answered == nil || r.State == Finished {
			return r, err
		}
		select { // its events end with the answer
		case <-time.After(endEvery):
		case <-ctx.Done():
			return r, context.Cause(ctx)
		}
	}
}

// endEvery is how often Wait looks whether an answered run has ended.
const endEvery = 100 * time.Millisecond

// partMin is how long a part of an id must be: a slip of the finger cancels nothing.
const partMin = 3

// Find gives the run of an id, or of the beginning or end of one where that is
// no other's. Its error lists the runs that it could be.
func (c *Client) Find(ctx context.Context, name string) (Run, error) {
	r, err := c.Run(ctx, name)
	var told *Error
	if err == nil || !errors.As(err, &told) || told.Code != "run_not_found" || len(name) < partMin {
		return r, err
	}
	all, listErr := c.Runs(ctx, Filter{Limit: 1000})
	if listErr != nil {
		return Run{}, listErr
	}
	var found []Run
	for _, r := range all {
		if strings.HasPrefix(r.ID, name) || strings.HasSuffix(strings.ToLower(r.ID), strings.ToLower(name)) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 0:
		return Run{}, err
	case 1:
		return found[0], nil
	}
	return Run{}, &Ambiguous{Name: name, Runs: found}
}

// Ambiguous is a part of more than one run's id.
type Ambiguous struct {
	Name string
	Runs []Run
}

// Error lists up to ten of them.
func (e *Ambiguous) Error() string {
	const most = 10
	var b strings.Builder
	fmt.Fprintf(&b, "%q is part of %d runs' ids:", e.Name, len(e.Runs))
	for _, r := range e.Runs[:min(most, len(e.Runs))] {
		fmt.Fprintf(&b, "\n  %s  %s, %s", r.ID, r.Model, r.State)
	}
	if more := len(e.Runs) - most; more > 0 {
		fmt.Fprintf(&b, "\n  and %d more", more)
	}
	return b.String()
}

func runPath(id string) string { return "/v1/runs/" + url.PathEscape(id) }
