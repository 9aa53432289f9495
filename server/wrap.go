package server

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"time"
)

// wrap goes around the router, not inside it: gorilla/mux runs its middleware
// for matched routes only, and a 404 needs a log line too.
func (d *daemon) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		x := &exchange{requestID: requestID(r), route: "unmatched"}
		w := newReply(rw)
		w.Header().Set("X-Request-Id", x.requestID)
		defer d.account(x, w, r, begun)
		defer recoverInto(x, w)
		if err := d.admitRequest(x, r); err != nil {
			fail(x, w, err)
			return
		}
		next.ServeHTTP(w, withExchange(r, x))
	})
}

// recoverInto turns a panic into a 500, or cuts the connection where the reply
// has begun: a truncated reply must not look whole.
func recoverInto(x *exchange, w *reply) {
	p := recover()
	if p == nil {
		return
	}
	x.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
	x.cause = "internal_error"
	if !w.begun() {
		writeError(w, internal(x.err))
		return
	}
	w.status = http.StatusInternalServerError // for the log line
	if conn, _, err := w.ctrl.Hijack(); err == nil {
		_ = conn.Close() // nobody is left to tell
	}
}

// fail writes err unless the reply has begun, and notes it for the log.
func fail(x *exchange, w *reply, err error) {
	e := asHTTPError(err)
	x.cause, x.err = e.Code, e
	if !w.begun() {
		writeError(w, e)
	}
}

// account writes the one log line of a request and counts it.
func (d *daemon) account(x *exchange, w *reply, r *http.Request, begun time.Time) {
	took := time.Since(begun)
	d.metrics.HTTPRequest(x.route, r.Method, w.status, took, x.requestID)
	level := slog.LevelInfo
	switch {
	case quiet(x.route):
		level = slog.LevelDebug
	case w.status >= 500:
		level = slog.LevelWarn
	}
	if !d.log.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request_id", x.requestID), slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.Int("status", w.status), slog.Int64("bytes", w.bytes), slog.Float64("seconds", took.Seconds()), slog.String("client", x.client),
	}
	if x.runID != "" {
		attrs = append(attrs, slog.String("run_id", x.runID))
	}
	if x.cause != "" {
		attrs = append(attrs, slog.String("cause", x.cause))
	}
	if x.err != nil && (w.status >= 500 || x.cause == "internal_error") { // of a stream that had begun, the status is 200
		attrs = append(attrs, slog.String("error", x.err.Error()))
	}
	d.log.LogAttrs(r.Context(), level, "request", attrs...)
}

// quiet are the routes that watchers ask every few seconds, the live page among
// them.
func quiet(route string) bool {
	return slices.Contains([]string{"/health", "/livez", "/readyz", "/metrics", "/v1/runs"}, route)
}
