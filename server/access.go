package server

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"penstock/run"
)

const (
	pathMax  = 200  // bytes of a path in the log
	errorMax = 2000 // and of what failed
)

// logRequest writes the one log line of a request and counts it.
func (d *daemon) logRequest(x *requestInfo, w *reply, r *http.Request, begun time.Time) {
	took := time.Since(begun)
	d.metrics.HTTPRequest(x.route, r.Method, w.status, took, x.requestID)
	level := levelOf(x.route, w.status)
	if !d.log.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request_id", x.requestID), slog.String("method", clip(r.Method, 20)), slog.String("route", x.route), slog.String("path", clip(r.URL.Path, pathMax)),
		slog.Int("status", w.status), slog.Int64("bytes", w.bytes), slog.Float64("seconds", seconds(took)),
	}
	if x.client != "" {
		attrs = append(attrs, slog.String("client", x.client))
	}
	if x.runID != "" {
		attrs = append(attrs, slog.String("run_id", x.runID))
	}
	attrs = append(attrs, x.job.logAttrs(x.own)...)
	d.log.LogAttrs(r.Context(), level, "request", append(attrs, x.outcomeAttrs()...)...)
}

func levelOf(route string, status int) slog.Level {
	switch {
	case isPolled(route) && (status < 400 || status == http.StatusServiceUnavailable): // not ready is no news each second
		return slog.LevelDebug
	case status >= 500:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// isPolled tells whether a route is one that watchers ask every few seconds, the live page among
// them.
func isPolled(route string) bool {
	return slices.Contains([]string{"/health", "/livez", "/readyz", "/metrics", "/v1/runs"}, route)
}

// logAttrs is what a line says of the run that was asked for. An answer's text, a
// prompt, or what a CLI wrote is never in it.
func (j *job) logAttrs(own bool) []slog.Attr {
	if j == nil {
		return nil
	}
	attrs := []slog.Attr{slog.String("backend", j.backend), slog.String("model", j.model)}
	if !j.begun() {
		return attrs
	}
	if own {
		attrs = append(attrs, slog.Float64("queue_seconds", seconds(j.waited)))
	}
	if j.err != nil {
		return attrs
	}
	return append(attrs, runAttrs(j.run.Record())...)
}

// runAttrs is how a run went, once it has ended.
func runAttrs(r run.Record) []slog.Attr {
	var attrs []slog.Attr
	if r.Started != nil && r.Ended != nil {
		attrs = append(attrs, slog.Float64("run_seconds", seconds(r.Ended.Sub(*r.Started))))
	}
	if r.Exit != nil {
		attrs = append(attrs, slog.Int("exit_code", *r.Exit))
	}
	if r.Signal != "" {
		attrs = append(attrs, slog.String("signal", r.Signal))
	}
	if r.Receipt != nil {
		attrs = append(attrs, slog.Any("receipt", *r.Receipt))
	}
	return attrs
}

// outcomeAttrs is why it ended: the cause, where there was something to end, or the
// code of a refusal. What a run failed of is in its record.
func (x *requestInfo) outcomeAttrs() []slog.Attr {
	var attrs []slog.Attr
	name := "code"
	if x.runID != "" {
		name = "cause"
	}
	if x.cause != "" {
		attrs = append(attrs, slog.String(name, x.cause))
	}
	e, ok := errors.AsType[*httpError](x.err)
	if ok && e.Param != "" {
		attrs = append(attrs, slog.String("param", e.Param))
	}
	if x.err != nil && !(ok && e.Kind == kindRun) {
		attrs = append(attrs, slog.String("error", clip(x.err.Error(), errorMax)))
	}
	return attrs
}
