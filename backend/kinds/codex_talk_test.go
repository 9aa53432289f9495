package kinds

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
	"penstock/backend/codex"
)

// codexSays are the machine's writes for the server's lines, decoded.
func codexSays(t *testing.T, r backend.Request, lines ...string) []map[string]any {
	t.Helper()
	m := codex.New(backend.Config{Name: "codex", Kind: "codex"}).Machine(r)
	write := m.Open()
	for _, line := range lines {
		_, more := m.Line([]byte(line))
		write = append(write, more...)
	}
	var said []map[string]any
	for _, line := range write {
		var message map[string]any
		if strings.Contains(string(line), "\n") || json.Unmarshal(line, &message) != nil {
			t.Fatalf("wrote %q, want one line of JSON", line)
		}
		said = append(said, message)
	}
	return said
}

const (
	codexHello  = `{"id":0,"result":{}}`
	codexThread = `{"id":1,"result":{"thread":{"id":"T"}}}`
)

func TestCodexStartsAThread(t *testing.T) {
	said := codexSays(t, backend.Request{Model: "m", System: "be brief", Prompt: "hello\nthere", Cwd: "/w", Effort: "high"}, codexHello, codexThread)
	var methods []string
	for _, message := range said {
		methods = append(methods, message["method"].(string))
	}
	if diff := cmp.Diff([]string{"initialize", "initialized", "thread/start", "turn/start"}, methods); diff != "" {
		t.Fatal(diff)
	}
	want := map[string]any{"cwd": "/w", "model": "m", "developerInstructions": "be brief", "approvalPolicy": "never", "sandbox": "danger-full-access"}
	if diff := cmp.Diff(want, said[2]["params"]); diff != "" {
		t.Error(diff)
	}
	want = map[string]any{"threadId": "T", "effort": "high", "input": []any{map[string]any{"type": "text", "text": "hello\nthere", "text_elements": []any{}}}}
	if diff := cmp.Diff(want, said[3]["params"]); diff != "" {
		t.Error(diff)
	}
}

// A resumed thread keeps the developerInstructions it began with, so the system
// text goes with the turn.
func TestCodexResumesAThread(t *testing.T) {
	said := codexSays(t, backend.Request{System: "be brief", Prompt: "p", Cwd: "/w", Session: "T", Permissions: "plan"}, codexHello, codexThread)
	if said[2]["method"] != "thread/resume" {
		t.Fatalf("said %v", said[2])
	}
	want := map[string]any{"cwd": "/w", "threadId": "T", "excludeTurns": true, "approvalPolicy": "never", "sandbox": "read-only"}
	if diff := cmp.Diff(want, said[2]["params"]); diff != "" {
		t.Error(diff)
	}
	context := said[3]["params"].(map[string]any)["additionalContext"]
	if diff := cmp.Diff(map[string]any{"system": map[string]any{"kind": "application", "value": "be brief"}}, context); diff != "" {
		t.Error(diff)
	}
}

func TestCodexRefusalsEndTheRun(t *testing.T) {
	for name, said := range map[string][]string{
		"initialize":   {`{"id":0,"error":{"code":-1,"message":"no rollout found"}}`},
		"thread/start": {codexHello, `{"id":1,"error":{"code":-32600,"message":"no rollout found"}}`},
		"turn/start":   {codexHello, codexThread, `{"id":2,"error":{"code":-1,"message":"no rollout found"}}`},
	} {
		s := listen(t, feed(codex.New(backend.Config{}).Machine(backend.Request{}), lines(said...)))
		if s.ended() != "cli_error" || s.End.Failure.Message != name+": no rollout found" {
			t.Errorf("%s: ended with %s %+v", name, s.ended(), s.End)
		}
	}
}

// Whatever codex asks, it gets an answer with the id of its question.
func TestCodexIsAlwaysAnswered(t *testing.T) {
	for method, want := range map[string]any{
		"item/commandExecution/requestApproval": map[string]any{"decision": "decline"},
		"item/fileChange/requestApproval":       map[string]any{"decision": "decline"},
		"execCommandApproval":                   map[string]any{"decision": "denied"},
		"applyPatchApproval":                    map[string]any{"decision": "denied"},
		"mcpServer/elicitation/request":         map[string]any{"action": "decline"},
		"item/permissions/requestApproval":      map[string]any{"permissions": map[string]any{}},
		"item/tool/requestUserInput":            map[string]any{"answers": map[string]any{}},
		"item/tool/call":                        map[string]any{"contentItems": []any{}, "success": false},
		"currentTime/read":                      nil,
		"something/new":                         nil,
	} {
		said := codexSays(t, backend.Request{}, codexHello, codexThread, `{"id":"q7","method":"`+method+`","params":{"threadId":"T"}}`)
		answer := said[len(said)-1]
		if answer["id"] != "q7" {
			t.Errorf("%s: answered with %v", method, answer)
		}
		if diff := cmp.Diff(want, answer["result"]); diff != "" {
			t.Errorf("%s: %s", method, diff)
		}
		if _, refused := answer["error"]; refused != (want == nil) {
			t.Errorf("%s: error %v", method, answer["error"])
		}
	}
}

func TestCodexCommand(t *testing.T) {
	b := codex.New(backend.Config{Name: "codex", Kind: "codex", ExtraArgs: []string{"-c", "x=1"}, SetEnv: map[string]string{"A": "b"}})
	c, err := b.Command(backend.Request{Prompt: "a secret prompt", System: "a secret system", Tmp: "/t", Effort: "high"})
	if err != nil {
		t.Fatal(err)
	}
	argv := strings.Join(c.Argv, " ")
	if !strings.HasPrefix(argv, "app-server -c ") || !strings.HasSuffix(argv, " -c x=1") || strings.Contains(argv, "secret") {
		t.Errorf("argv %q", argv)
	}
	if c.Input != backend.Conversation || c.Prompt != nil || c.Settle || c.SoftEnd {
		t.Errorf("command %+v", c)
	}
	if diff := cmp.Diff(map[string]string{"TMPDIR": "/t", "A": "b"}, c.Set); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []backend.Request{{Permissions: "all"}, {Effort: "huge"}} {
		if _, err := b.Command(bad); err == nil || !strings.Contains(err.Error(), "use one of") && !strings.Contains(err.Error(), "use bypass") {
			t.Errorf("%+v: error %v, want one that names the known values", bad, err)
		}
	}
}
