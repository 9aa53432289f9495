package server

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"penstock/run"
	"penstock/server/listener"
)

// middleware goes around the router, not inside it: gorilla/mux runs its middleware
// for matched routes only, and a 404 needs a log line too.
func (d *daemon) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		x := &requestInfo{requestID: requestID(r), route: "unmatched", conn: peerOf(r.Context()).conn}
		w := newReply(rw)
		w.Header().Set("X-Request-Id", x.requestID)
		if peerOf(r.Context()).reserved {
			w.Header().Set("Connection", "close")
		}
		d.originCheck.setCORS(w.Header(), r)
		defer d.logRequest(x, w, r, begun)
		defer recoverInto(x, w)
		boundUnreadBody(w, r)
		if d.originCheck.preflight(w, r) {
			x.route = "preflight"
			return
		}
		if err := d.admitRequest(x, r); err != nil {
			fail(x, w, err)
			return
		}
		if x.client != "" {
			x.conn.SetPhase(listener.Replying)
		}
		next.ServeHTTP(w, withInfo(r, x))
	})
}

// recoverInto turns a panic into a 500, or cuts the connection where the reply
// has begun: a truncated reply must not look whole.
func recoverInto(x *requestInfo, w *reply) {
	p := recover()
	if p == nil {
		return
	}
	x.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
	x.cause = "internal_error"
	if !w.begun() {
		e := internal(x.err)
		if x.job != nil { // its run may be alive already
			e = afterStart(e, run.Record{ID: x.runID})
		}
		writeError(w, e)
		return
	}
	w.status = http.StatusInternalServerError // for the log line
	if conn, _, err := w.ctrl.Hijack(); err == nil {
		_ = conn.Close() // nobody is left to tell
	}
}

// fail writes err unless the reply has begun, and notes it for the log.
func fail(x *requestInfo, w *reply, err error) {
	e := asHTTPError(err)
	x.cause, x.err = e.Code, e
	if !w.begun() {
		writeError(w, e)
	}
}
