package web

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"
)

const (
	pathMax  = 200  // bytes of a path in the log
	errorMax = 2000 // and of what failed
)

// logRequest writes the one log line of a request.
func (x *RequestInfo) logRequest(log *slog.Logger, w *Reply, r *http.Request, took time.Duration) {
	level := levelOf(x.route, w.status)
	if !log.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request_id", x.requestID), slog.String("method", Clip(r.Method, 20)), slog.String("route", x.route), slog.String("path", Clip(r.URL.Path, pathMax)),
		slog.Int("status", w.status), slog.Int64("bytes", w.Bytes), slog.Float64("seconds", Seconds(took)),
	}
	if x.Client != "" {
		attrs = append(attrs, slog.String("client", x.Client))
	}
	if x.RunID != "" {
		attrs = append(attrs, slog.String("run_id", x.RunID))
	}
	if x.Attrs != nil {
		attrs = append(attrs, x.Attrs()...)
	}
	log.LogAttrs(r.Context(), level, "request", append(attrs, x.outcomeAttrs()...)...)
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

// isPolled tells whether a route is one that monitors, and the live page, ask every
// few seconds.
func isPolled(route string) bool {
	return slices.Contains([]string{"/health", "/livez", "/readyz", "/metrics", "/v1/runs"}, route)
}

// outcomeAttrs is why it ended: the cause, where there was something to end, or the
// code of a refusal. What a run failed of is in its record.
func (x *RequestInfo) outcomeAttrs() []slog.Attr {
	var attrs []slog.Attr
	name := "code"
	if x.RunID != "" {
		name = "cause"
	}
	if x.Cause != "" {
		attrs = append(attrs, slog.String(name, x.Cause))
	}
	e, ok := errors.AsType[*Error](x.Err)
	if ok && e.Param != "" {
		attrs = append(attrs, slog.String("param", e.Param))
	}
	if x.Err != nil && !(ok && e.Kind == KindRun) {
		attrs = append(attrs, slog.String("error", Clip(x.Err.Error(), errorMax)))
	}
	return attrs
}
