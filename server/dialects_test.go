package server

import (
	"strings"
	"testing"
)

// codex tries a WebSocket first, and posts at once if that is a 426, however its wish comes through.
func TestWebSocket(t *testing.T) {
	s := serve(t, nil)
	const path = "/v1/responses"
	for _, header := range [][]string{
		{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="},
		{"Connection", "upgrade", "Upgrade", "WebSocket"},
		{"Connection", "Upgrade", "Upgrade", "h2c, WEBSOCKET"},
		{"Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="}, // what nginx leaves of it
	} {
		r := s.ask("GET", path, "", header...)
		if r.status != 426 || r.code() != "upgrade_required" || !strings.Contains(r.err.Message, "POST "+path) || r.header.Get("Upgrade") != "HTTP/1.1" {
			t.Errorf("%v: %d %s %v", header, r.status, r.body, r.header)
		}
	}
	for _, row := range [][]string{
		{"GET", path}, {"GET", path, "Upgrade", "h2c"}, {"HEAD", path, "Upgrade", "websocket"}, {"PATCH", path, "Upgrade", "websocket"}, {"GET", "/v1/models", "Upgrade", "websocket"},
	} {
		if r := s.ask(row[0], row[1], "", row[2:]...); r.status == 426 {
			t.Errorf("%v: 426", row)
		}
	}
}
