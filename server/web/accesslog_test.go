package web

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
)

// What is asked every second is no news, unless it fails by our own fault.
func TestLevelOf(t *testing.T) {
	for _, row := range []struct {
		route  string
		status int
		cause  Code
		want   slog.Level
	}{
		{"/health", 200, "", slog.LevelDebug}, {"/readyz", 503, "", slog.LevelDebug}, {"/v1/runs", 401, "", slog.LevelInfo}, {"/metrics", 500, "", slog.LevelWarn},
		{"/v1/models", 200, "", slog.LevelInfo}, {"/v1/models", 503, "", slog.LevelWarn},
		{"/v1/chat/completions", 400, "killed", slog.LevelInfo}, {"/v1/chat/completions", 400, InternalError, slog.LevelWarn}, {"/v1/chat/completions", 200, InternalError, slog.LevelWarn},
		{"/v1/messages", 529, "queue_full", slog.LevelInfo}, {"/v1/messages", 406, InternalError, slog.LevelWarn},
	} {
		if got := levelOf(row.route, row.status, row.cause); got != row.want {
			t.Errorf("%s %d %s: %s, want %s", row.route, row.status, row.cause, got, row.want)
		}
	}
}

// A client that is told of an internal error is told that the log has its cause.
func TestOutcomeAttrs_FaultOfOurs(t *testing.T) {
	for _, fault := range []*Error{Internal(errors.New("disk")), AfterStart(errors.New("disk"), "run_1", nil)} {
		x := &RequestInfo{RunID: fault.RunID}
		x.Failed(fault)
		if attrs := x.outcomeAttrs(); !slices.ContainsFunc(attrs, func(a slog.Attr) bool { return a.Key == LogError && a.Value.String() == "disk" }) {
			t.Errorf("%d: %v", fault.Status, attrs)
		}
	}
}

// The keys of the table are those of the handbook.
func TestLogKeys_Documented(t *testing.T) {
	handbook, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "accesslog.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Log") {
			return true
		}
		n++
		if key := strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`); !strings.Contains(string(handbook), "`"+key+"`") {
			t.Errorf("docs/operations.md has no %s", key)
		}
		return true
	})
	if n < 20 {
		t.Errorf("%d keys", n)
	}
}
