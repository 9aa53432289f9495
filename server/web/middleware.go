package web

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"penstock/server/listener"
)

// Front is what every request passes before its handler: where it comes from and
// which client asks, and after it: the log line, the metrics, a panic.
type Front struct {
	Origins   OriginCheck
	Tokens    *Tokens
	Operators map[string]bool           // clients that are, beside those that identify tells
	Shape     func(*http.Request) Shape // in what shape a request is told of its failure; nil is OpenAI's
	Log       *slog.Logger
	Observe   func(route, method string, status int, took time.Duration, requestID string)
}

// Middleware goes around the router, not inside it: gorilla/mux runs its middleware
// for matched routes only, and a 404 needs a log line too.
func (f *Front) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		x := &RequestInfo{requestID: requestID(r), route: Unmatched, Conn: peerOf(r.Context()).conn}
		w := NewReply(rw)
		f.identifyReply(w, x, r)
		if peerOf(r.Context()).reserved {
			w.Header().Set("Connection", "close")
		}
		f.Origins.setCORS(w.Header(), r)
		defer func() {
			took := time.Since(begun)
			f.Observe(x.route, r.Method, w.status, took, x.requestID)
			x.logRequest(f.Log, w, r, took)
		}()
		defer recoverInto(x, w)
		boundUnreadBody(w, r)
		if f.Origins.preflight(w, r) {
			x.route = "preflight"
			return
		}
		if err := f.admit(x, r); err != nil {
			fail(x, w, err)
			return
		}
		if x.Client != "" {
			x.Conn.SetPhase(listener.Replying)
		}
		next.ServeHTTP(w, WithInfo(r, x))
	})
}

// identifyReply gives a reply its id, by the names of the API that its client speaks.
func (f *Front) identifyReply(w *Reply, x *RequestInfo, r *http.Request) {
	w.requestID = x.requestID
	w.Header().Set("X-Request-Id", x.requestID)
	if f.Shape != nil {
		w.shape = f.Shape(r)
	}
	if w.shape == Anthropic {
		w.Header().Set("Request-Id", x.requestID)
	}
}

// admit lets a request in by where it comes from, then by which client asks.
func (f *Front) admit(x *RequestInfo, r *http.Request) error {
	if err := f.Origins.check(r); err != nil {
		return err
	}
	if peerOf(r.Context()).reserved && !answersFromReserve(r.URL.Path) {
		return NoDescriptors()
	}
	client, operator, err := identify(r, f.Tokens.now())
	if err != nil && !needsNoToken(r.URL.Path) {
		return err
	}
	x.Client, x.Operator = client, operator || f.Operators[client]
	return nil
}

// Handler returns its failure instead of writing it.
type Handler func(w *Reply, r *http.Request) error

// Route serves a route, by its path template, with h.
func Route(template string, h Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		x := InfoOf(r)
		x.route = template
		w, ok := rw.(*Reply)
		if !ok {
			w = NewReply(rw)
		}
		if err := h(w, r); err != nil {
			fail(x, w, err)
		}
	})
}

// recoverInto turns a panic into a 500, or cuts the connection where the reply
// has begun: a truncated reply must not look whole.
func recoverInto(x *RequestInfo, w *Reply) {
	p := recover()
	if p == nil {
		return
	}
	x.Err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
	x.Cause = string(InternalError)
	if !w.Begun() {
		e := Internal(x.Err)
		if x.Admitted {
			e = AfterStart(e, x.RunID, nil)
		}
		WriteError(w, e)
		return
	}
	w.Abort(http.StatusInternalServerError)
}

// fail writes err unless the reply has begun, and notes it for the log.
func fail(x *RequestInfo, w *Reply, err error) {
	e := AsError(err)
	x.Failed(e)
	if !w.Begun() {
		WriteError(w, e)
	}
}
