package model

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// maxBody is the largest request body read, in bytes.
const maxBody = 64 << 20

// protocol is one provider's wire format.
type protocol interface {
	// decode reads a request.
	decode(r *http.Request, body []byte) (conversation, error)
	// stream begins a streamed answer on out.
	stream(out *events, c conversation) wire
	// whole is the body of an answer that is not streamed.
	whole(c conversation, a reply) any
	// failure is the body of an error status.
	failure(status int, message string) any
	// breakBy is how this provider's void answers break: "reset" or "event".
	breakBy() string
}

// wire writes one streamed answer.
type wire interface {
	think(delta string)
	text(delta string)
	call(name, args string)
	finish(ending)
	fail(status int, message string)
}

// protocolFor picks the wire format by the end of the path.
func protocolFor(path string) protocol {
	switch {
	case strings.HasSuffix(path, "/messages"):
		return anthropic{}
	case strings.HasSuffix(path, "/responses"):
		return responses{}
	case strings.HasSuffix(path, "/chat/completions"):
		return chat{}
	case strings.HasSuffix(path, ":streamGenerateContent"), strings.HasSuffix(path, ":generateContent"):
		return gemini{}
	}
	return nil
}

// ServeHTTP answers one request of any of the protocols.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	defer s.busy.Done()
	path := strings.TrimSuffix(r.URL.Path, "/")
	p := protocolFor(path)
	switch {
	case r.Method == http.MethodHead:
		w.WriteHeader(http.StatusOK)
	case r.Method == http.MethodGet && strings.HasSuffix(path, "/models"):
		writeJSON(w, http.StatusOK, modelList())
	case r.Method == http.MethodPost && strings.HasSuffix(path, "/count_tokens"):
		writeJSON(w, http.StatusOK, map[string]any{"input_tokens": inputTokens})
	case r.Method == http.MethodPost && strings.HasSuffix(path, ":countTokens"):
		writeJSON(w, http.StatusOK, map[string]any{"totalTokens": inputTokens})
	case r.Method == http.MethodPost && p != nil:
		s.answer(w, r, p)
	default:
		writeJSON(w, http.StatusNotFound, chat{}.failure(http.StatusNotFound, "no such path: "+r.URL.Path))
	}
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, p protocol) {
	body, err := readBody(r)
	if err != nil {
		writeJSON(w, http.StatusBadRequest, p.failure(http.StatusBadRequest, err.Error()))
		return
	}
	c, err := p.decode(r, body)
	if err != nil {
		writeJSON(w, http.StatusBadRequest, p.failure(http.StatusBadRequest, err.Error()))
		return
	}
	sc := scriptFor(c)
	i := s.record(newRequest(r, len(body), c, sc))
	s.settle(i, s.play(w, r, p, c, sc))
}

func readBody(r *http.Request) ([]byte, error) {
	in := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		in = z
	}
	return io.ReadAll(io.LimitReader(in, maxBody))
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) // a client that left is no error here
}

// modelList suits the OpenAI and the Anthropic form.
func modelList() any {
	return map[string]any{
		"object":   "list",
		"has_more": false,
		"data": []any{map[string]any{
			"id": "fake-model", "object": "model", "type": "model", "display_name": "Fake",
			"created": created, "created_at": "2026-01-01T00:00:00Z", "owned_by": "test",
		}},
	}
}
