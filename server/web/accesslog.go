package web

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"
)

// The keys of a request's log line, all of them; docs/operations.md has them in words.
const (
	LogRequestID    = "request_id"
	LogMethod       = "method"
	LogRoute        = "route"
	LogPath         = "path"
	LogStatus       = "status"
	LogBytes        = "bytes"
	LogSeconds      = "seconds"
	LogClient       = "client"
	LogRunID        = "run_id"
	LogBackend      = "backend"
	LogModel        = "model"
	LogQueueSeconds = "queue_seconds"
	LogRunSeconds   = "run_seconds"
	LogExitCode     = "exit_code"
	LogSignal       = "signal"
	LogReceipt      = "receipt"
	LogCause        = "cause"
	LogCode         = "code"
	LogParam        = "param"
	LogError        = "error"
)

const (
	pathMax  = 200  // bytes of a path in the log
	errorMax = 2000 // and of what failed
)

// logRequest writes the one log line of a request.
func (x *RequestInfo) logRequest(log *slog.Logger, w *Reply, r *http.Request, took time.Duration) {
	level := levelOf(x.route, w.status, Code(x.Cause))
	if !log.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String(LogRequestID, x.requestID), slog.String(LogMethod, Clip(r.Method, 20)), slog.String(LogRoute, x.route), slog.String(LogPath, Clip(r.URL.Path, pathMax)),
		slog.Int(LogStatus, w.status), slog.Int64(LogBytes, w.Bytes), slog.Float64(LogSeconds, Seconds(took)),
	}
	if x.Client != "" {
		attrs = append(attrs, slog.String(LogClient, x.Client))
	}
	if x.RunID != "" {
		attrs = append(attrs, slog.String(LogRunID, x.RunID))
	}
	if x.Attrs != nil {
		attrs = append(attrs, x.Attrs()...)
	}
	log.LogAttrs(r.Context(), level, "request", append(attrs, x.outcomeAttrs()...)...)
}

// levelOf tells of a fault of ours at any status: what came after a start has 200, 400 or 406.
func levelOf(route string, status int, cause Code) slog.Level {
	switch {
	case cause == InternalError:
		return slog.LevelWarn
	case isPolled(route) && (status < 400 || status == http.StatusServiceUnavailable): // not ready is no news each second
		return slog.LevelDebug
	case status >= 500 && status != statusOverloaded: // a client that is told to wait is no fault
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
// code of a refusal. What a run failed of is in its record, but not what we failed of.
func (x *RequestInfo) outcomeAttrs() []slog.Attr {
	var attrs []slog.Attr
	name := LogCode
	if x.RunID != "" {
		name = LogCause
	}
	if x.Cause != "" {
		attrs = append(attrs, slog.String(name, x.Cause))
	}
	e, ok := errors.AsType[*Error](x.Err)
	if ok && e.Param != "" {
		attrs = append(attrs, slog.String(LogParam, e.Param))
	}
	if x.Err != nil && !(ok && e.Kind == KindRun && e.Code != InternalError) {
		attrs = append(attrs, slog.String(LogError, Clip(x.Err.Error(), errorMax)))
	}
	return attrs
}
