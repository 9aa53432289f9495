package client

import (
	"context"
	"net/http"
)

// Health is what GET /health tells that people look at; nil is unknown.
type Health struct {
	Status   string   `json:"status"`
	Degraded []string `json:"degraded"`
	Version  string   `json:"version"`
	Uptime   float64  `json:"uptime_seconds"`
	Queue    struct {
		Running int `json:"running"`
		MaxRuns int `json:"max_runs"`
		Waiting int `json:"waiting"`
	} `json:"queue"`
	Memory struct {
		Budget   int64   `json:"budget_bytes"`
		Reserved int64   `json:"reserved_bytes"`
		Used     *uint64 `json:"used_bytes"`
	} `json:"memory"`
}

// Health is the daemon's state, also when it would take no request.
func (c *Client) Health(ctx context.Context) (Health, error) {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	var h Health
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/health", nil)
	if err != nil {
		return h, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return h, &Unreachable{Address: c.address, Err: plainCause(err)}
	}
	defer resp.Body.Close()
	return h, c.decode(resp.Body, &h)
}

// Model is one that may be asked for.
type Model struct {
	ID    string `json:"id"`
	Ready bool   `json:"ready"`
}

// Models are all, ready or not.
func (c *Client) Models(ctx context.Context) ([]Model, error) {
	var reply struct{ Data []Model }
	_, err := c.ask(ctx, request{method: http.MethodGet, path: "/v1/models"}, &reply)
	return reply.Data, err
}
