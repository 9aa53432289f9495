package web

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/outcome"
)

func anthropicReply() (*Reply, *httptest.ResponseRecorder) {
	rec := httptest.NewRecorder()
	w := NewReply(rec)
	w.shape, w.requestID = Anthropic, "req_1"
	return w, rec
}

// An Anthropic client is told in its own words, by a status that it repeats where nothing was
// started, and by none that it repeats where a run was.
func TestWriteError_Anthropic(t *testing.T) {
	yes, no := "true", "false"
	for name, row := range map[string]struct {
		e             *Error
		status        int
		kind, event   string
		should, after string
	}{
		"wrong in itself":   {BadRequest("max_tokens", "m"), 400, "invalid_request_error", "invalid_request_error", "", ""},
		"no token":          {unauthorized("m"), 401, "authentication_error", "invalid_request_error", no, ""},
		"a foreign origin":  {Errorf(OriginNotAllowed, "m"), 403, "permission_error", "permission_error", "", ""},
		"no such model":     {Errorf(ModelNotFound, "m"), 404, "not_found_error", "not_found_error", "", ""},
		"another method":    {Errorf(MethodNotAllowed, "m"), 405, "invalid_request_error", "invalid_request_error", "", ""},
		"a slow body":       {Errorf(BodyTimeout, "m"), 408, "timeout_error", "timeout_error", "", ""},
		"a taken run id":    {Errorf(RunIDConflict, "m"), 409, "invalid_request_error", "invalid_request_error", no, ""},
		"a replay gone":     {Errorf(ReplayGone, "m"), 410, "invalid_request_error", "invalid_request_error", "", ""},
		"a large body":      {tooLarge(), 413, "request_too_large", "request_too_large", "", ""},
		"another coding":    {Errorf(UnsupportedMediaType, "m"), 415, "invalid_request_error", "invalid_request_error", "", ""},
		"a full queue":      {OverCapacity(Code(outcome.QueueFull), "m", 3*time.Second), 529, "overloaded_error", "overloaded_error", yes, "3"},
		"a long queue":      {OverCapacity(Code(outcome.QueueTimeout), "m", time.Second), 529, "overloaded_error", "overloaded_error", yes, "1"},
		"a drain":           {OverCapacity(Code(outcome.ShuttingDown), "m", 9*time.Second), 503, "overloaded_error", "overloaded_error", yes, "9"},
		"over the budget":   {Errorf(Code(outcome.OverBudget), "m"), 400, "invalid_request_error", "invalid_request_error", no, ""},
		"a full disk":       {Errorf(Code(outcome.StartFailed), "m"), 503, "api_error", "api_error", "", ""},
		"no descriptors":    {NoDescriptors(), 503, "api_error", "api_error", yes, "1"},
		"no such program":   {Errorf(Code(outcome.CLIMissing), "m"), 503, "api_error", "invalid_request_error", no, ""},
		"a fault of ours":   {Internal(errors.New("m")), 500, "api_error", "invalid_request_error", no, ""},
		"a run that failed": {RunError(Code(outcome.MemoryLimit), "m", "run_1", &outcome.Receipt{}), 406, "invalid_request_error", "invalid_request_error", no, ""},
		"our fault, later":  {AfterStart(errors.New("m"), "run_1", nil), 406, "invalid_request_error", "invalid_request_error", no, ""},
		"gone, later":       {AfterStart(Errorf(ReplayGone, "m"), "run_1", nil), 410, "invalid_request_error", "invalid_request_error", "", ""},
	} {
		w, rec := anthropicReply()
		WriteError(w, row.e)
		var got AnthropicBody
		if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		want := AnthropicBody{Type: "error", RequestID: "req_1", Error: AnthropicError{
			Type: row.kind, Message: row.e.Message, Param: row.e.Param, RunID: row.e.RunID, XCause: row.e.Code, XReceipt: row.e.Receipt,
		}}
		if diff := cmp.Diff(want, got); diff != "" || rec.Code != row.status {
			t.Errorf("%s: %d, want %d (-want +got)\n%s", name, rec.Code, row.status, diff)
		}
		if should, after := rec.Header().Get("X-Should-Retry"), rec.Header().Get("Retry-After"); should != row.should || after != row.after {
			t.Errorf("%s: x-should-retry %q, Retry-After %q", name, should, after)
		}
		if got := row.e.AnthropicEvent("").Error.Type; got != row.event {
			t.Errorf("%s: %s in a stream", name, got)
		}
	}
}

// What a run failed of has one word and one receipt in each shape.
func TestBody_Shapes(t *testing.T) {
	peak := uint64(7)
	e := RunError(Code(outcome.MemoryLimit), "m", "run_1", &outcome.Receipt{MemoryPeakBytes: &peak})
	openAI, anthropic := e.Body(), e.AnthropicBody("").Error
	if openAI.Code != "memory_limit" || openAI.XCause != openAI.Code || anthropic.XCause != openAI.Code {
		t.Errorf("%+v\n%+v", openAI, anthropic)
	}
	if openAI.Receipt != e.Receipt || openAI.XReceipt != e.Receipt || anthropic.XReceipt != e.Receipt {
		t.Errorf("%+v\n%+v", openAI, anthropic)
	}
}

// Each layer's failure has the shape that the request asks for, also one that comes before its route
// is known, and one that was not foreseen.
func TestFront_Shape(t *testing.T) {
	f := &Front{
		Origins: OriginCheck{names: []string{"localhost"}}, Tokens: NewTokens(nil), Log: slog.New(slog.DiscardHandler),
		Shape: func(r *http.Request) Shape {
			if r.URL.Path == "/a" {
				return Anthropic
			}
			return OpenAI
		},
		Observe: func(string, string, int, time.Duration, string) {},
	}
	h := f.Middleware(Route("/", func(w *Reply, r *http.Request) error {
		if r.Method == http.MethodDelete {
			panic("x")
		}
		return Errorf(NotFound, "m")
	}))
	for path, shape := range map[string]string{"/a": "error", "/o": ""} {
		for _, row := range []struct {
			method, host string
			status       int
		}{{"GET", "localhost", 404}, {"DELETE", "localhost", 500}, {"GET", "evil.example", 403}} {
			r := httptest.NewRequest(row.method, path, nil)
			r.Host = row.host
			r.Header.Set("X-Request-Id", "req_1")
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			var body struct {
				Type      string
				RequestID string `json:"request_id"`
				Error     struct {
					Message string
					XCause  Code `json:"x_cause"`
				}
			}
			if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil || rec.Code != row.status || body.Type != shape || body.Error.XCause == "" || body.Error.Message == "" {
				t.Errorf("%s %s %s: %d %s %v", row.method, row.host, path, rec.Code, rec.Body, err)
			}
			if has := rec.Header().Get("Request-Id") == "req_1" && body.RequestID == "req_1"; has != (shape != "") {
				t.Errorf("%s: %v %s", path, rec.Header(), rec.Body)
			}
		}
	}
}
