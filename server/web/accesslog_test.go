package web

import (
	"log/slog"
	"testing"
)

// What is asked every second is no news, unless it fails by our own fault.
func TestLevelOf(t *testing.T) {
	for _, row := range []struct {
		route  string
		status int
		want   slog.Level
	}{
		{"/health", 200, slog.LevelDebug}, {"/readyz", 503, slog.LevelDebug}, {"/v1/runs", 401, slog.LevelInfo}, {"/metrics", 500, slog.LevelWarn},
		{"/v1/models", 200, slog.LevelInfo}, {"/v1/models", 503, slog.LevelWarn},
	} {
		if got := levelOf(row.route, row.status); got != row.want {
			t.Errorf("%s %d: %s, want %s", row.route, row.status, got, row.want)
		}
	}
}
