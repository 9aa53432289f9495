package server

import (
	"bytes"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"penstock/server/openapi"
	"penstock/server/translate"
	"penstock/server/ui"
	"penstock/server/web"
)

// route is one line of the table that is also GET /.
type route struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	About  string `json:"about"`
	serve  web.Handler
}

func (d *daemon) routes() []route {
	return []route{
		{"POST", "/v1/chat/completions", "run an agent on a conversation; streams", d.ask("chat")},
		{"POST", "/v1/responses", "the same as OpenAI's responses; streams", d.ask("responses")},
		{"GET", "/v1/responses/{id}", "a stored response; ?stream=true&starting_after=", d.getResponse},
		{"GET", "/v1/responses/{id}/input_items", "what it was asked; ?limit=&order=&after=", d.responseInput},
		{"POST", "/v1/responses/{id}/cancel", "end it", d.cancelResponse},
		{"DELETE", "/v1/responses/{id}", "remove it, with its run", d.deleteResponse},
		{"POST", "/v1/messages", "the same as Anthropic's messages; streams", d.ask("messages")},
		{"POST", "/v1/messages/count_tokens", "an estimate of what a request has the model read", d.countTokens},
		{"GET", "/v1/models", "backends and their models", d.listModels},
		{"GET", "/v1/models/{id:.+}", "one model", d.getModel},
		{"GET", "/v1/runs", "live and finished runs, newest first; ?state=&client=&limit=", d.listRuns},
		{"GET", "/v1/runs/{id}", "one run: state, cause, limits, receipt", d.getRun},
		{"GET", "/v1/runs/{id}/events", "a run's stream from the start or after Last-Event-ID", d.runEvents},
		{"POST", "/v1/runs/{id}/cancel", "end a run", d.cancelRun},
		{"GET", "/v1/sessions", "the caller's sessions", d.listSessions},
		{"DELETE", "/v1/sessions/{id:.+}", "forget a session", d.forgetSession},
		{"POST", "/translate", "rewrite a loopback URL for a sidecar, or back", translate.Handler(d.intake, d.config.Translate)},
		{"GET", "/health", "state of the daemon, its children, queue, memory and cage", d.health},
		{"GET", "/livez", "200 while the process answers", d.livez},
		{"GET", "/readyz", "200 if a new request would be taken", d.readyz},
		{"GET", "/metrics", "Prometheus text or OpenMetrics", d.scrape},
		{"GET", "/ui", "a live page: runs, queue, why runs ended", d.page},
		{"GET", "/ui/{file}", "what the page loads", d.page},
		{"GET", "/openapi.json", "this surface, OpenAPI 3.1", d.document},
		{"GET", "/", "this list", d.index},
	}
}

// handler is the whole surface.
func (d *daemon) handler() http.Handler {
	m := mux.NewRouter().SkipClean(true)
	for _, rt := range d.routes() {
		methods := []string{rt.Method}
		if rt.Method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
		m.Handle(rt.Path, web.Route(pathTemplate(rt.Path), rt.serve)).Methods(methods...)
	}
	m.NotFoundHandler = web.Route(web.Unmatched, func(w *web.Reply, r *http.Request) error { return notFound(m, r) })
	m.MethodNotAllowedHandler = web.Route(web.Unmatched, func(w *web.Reply, r *http.Request) error { return methodNotAllowed(m, r) })
	return d.front.Middleware(m)
}

// noWebSocket refuses a WebSocket where it is tried. codex takes only a 426 for an answer: any
// other it asks for again, seven times in 6 s, before it posts. A proxy may have
// dropped Upgrade, which is for one hop, but not the key.
func noWebSocket(r *http.Request) error {
	asked := r.Header.Get("Sec-WebSocket-Key") != "" || strings.Contains(strings.ToLower(r.Header.Get("Upgrade")), "websocket")
	if !asked || r.Method != http.MethodGet || r.URL.Path != responsesPath {
		return nil
	}
	e := web.Errorf(web.UpgradeRequired, "no WebSocket is served here: POST %s over HTTP, with stream: true for events", responsesPath)
	e.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"HTTP/1.1"}}
	return e
}

// notFound says what was probably meant.
func notFound(m *mux.Router, r *http.Request) error {
	if err := noWebSocket(r); err != nil {
		return err
	}
	asked := path.Clean("/" + r.URL.Path)
	below := "/v1" + asked
	if i := strings.LastIndex(asked, "/v1/"); i >= 0 {
		below = asked[i:]
	}
	if hint := otherAPI(below); hint != "" {
		return noRoute(r.URL.Path, hint)
	}
	if hint := twice(asked); hint != "" {
		return noRoute(r.URL.Path, hint)
	}
	for _, meant := range []string{asked, below} {
		if meant == r.URL.Path || len(methodsFor(m, r, meant)) == 0 {
			continue
		}
		hint := "did you mean " + web.Clip(meant, 200) + "?"
		switch {
		case within(meant, messagesPath) && strings.Contains(asked, "/v1/"):
			hint += " (hint: a client of Anthropic's API that adds /v1 by itself has a base URL without it, and without a slash at its end)"
		case strings.HasPrefix(meant, "/v1/"):
			hint += " (hint: a client's base URL ends in /v1, once and without a slash after it)"
		}
		return noRoute(r.URL.Path, hint)
	}
	return noRoute(r.URL.Path, "GET / lists them")
}

// twice tells a client that adds a route to its base URL which has that already.
func twice(asked string) string {
	for _, route := range []string{"/chat/completions", "/responses"} {
		if strings.HasSuffix(asked, route+route) {
			return "did you mean /v1" + route + "? (hint: a client's base URL ends in /v1; it adds " + route + " by itself)"
		}
	}
	return ""
}

func noRoute(asked, hint string) *web.Error {
	return web.Errorf(web.NotFound, "no such route: %s: %s", web.Clip(asked, 200), hint)
}

// otherAPI tells a client that speaks another API than we do how to reach us.
func otherAPI(route string) string {
	switch {
	case within(route, "/v1/completions"), within(route, "/v1/complete"):
		return "only conversations are served (POST /v1/chat/completions, /v1/responses or /v1/messages): set the client to a chat model"
	case route == responsesPath+"/compact", route == responsesPath+"/input_tokens":
		return "the agent keeps its own context: nothing is compacted or counted here"
	case within(route, "/v1/conversations"):
		return "conversations are not served: go on from a response by previous_response_id"
	}
	return ""
}

// methodNotAllowed asks the router itself which methods it would take: mux
// answers 405 without Allow (RFC 9110, 15.5.6 requires it).
func methodNotAllowed(m *mux.Router, r *http.Request) error {
	if err := noWebSocket(r); err != nil {
		return err
	}
	if hint := otherAPI(r.URL.Path); hint != "" { // it reads as the id of a response
		return noRoute(r.URL.Path, hint)
	}
	allow := methodsFor(m, r, r.URL.Path)
	e := web.Errorf(web.MethodNotAllowed, "%s does not take %s", web.Clip(r.URL.Path, 200), web.Clip(r.Method, 20))
	if hint := twice(r.URL.Path); hint != "" { // as the response of that name
		e.Message += ": " + hint
	}
	e.Header = http.Header{"Allow": {strings.Join(allow, ", ")}}
	return e
}

// methodsFor are the methods that the router would take for a path, sorted.
func methodsFor(m *mux.Router, r *http.Request, route string) (methods []string) {
	for _, method := range []string{"DELETE", "GET", "HEAD", "POST"} {
		probe := r.Clone(r.Context())
		probe.Method, probe.URL.Path, probe.URL.RawPath = method, route, ""
		var match mux.RouteMatch
		if m.Match(probe, &match) && match.MatchErr == nil {
			methods = append(methods, method)
		}
	}
	return methods
}

// index lists the routes as a client reads them.
func (d *daemon) index(w *web.Reply, r *http.Request) error {
	routes := d.routes()
	for i := range routes {
		routes[i].Path = pathTemplate(routes[i].Path)
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{"name": "penstock", "version": d.version, "routes": routes})
	return nil
}

// pathTemplate is a path without the router's patterns.
func pathTemplate(path string) string { return strings.ReplaceAll(path, ":.+}", "}") }

func (d *daemon) document(w *web.Reply, r *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(openapi.Document()))
	return nil
}

func (d *daemon) scrape(w *web.Reply, r *http.Request) error {
	d.metrics.Handler().ServeHTTP(w, r)
	return nil
}

// page serves the live page and its files; the figures on it come from the
// other routes.
func (d *daemon) page(w *web.Reply, r *http.Request) error {
	name := mux.Vars(r)["file"]
	if name == "" {
		name = ui.Page
	}
	if !ui.Serve(w, r, name) {
		return noRoute(r.URL.Path, "GET / lists them")
	}
	return nil
}
