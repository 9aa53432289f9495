package model

import (
	"testing"
	"time"
)

func TestScriptMarkers(t *testing.T) {
	for _, tt := range []struct {
		prompt   string
		scenario string
		deltas   int
		delay    time.Duration
		command  string
	}{
		{"hello", "text", 5, 0, ""},
		{"SCN=long", "long", 200, 50 * time.Millisecond, ""},
		{"SCN=long N=4 DELAY=7", "long", 4, 7 * time.Millisecond, ""},
		{"user: SCN=e500\nuser: SCN=tool N=2 N=3 CMD{{a\nb}}", "tool", 3, 0, "a\nb"},
		{"SCN=nonsense", "text", 5, 0, ""},
	} {
		s := scriptFor(conversation{turns: []turn{user(tt.prompt)}})
		if s.scenario != tt.scenario || s.deltas != tt.deltas || s.delay != tt.delay || s.command != tt.command {
			t.Errorf("scriptFor(%q) = %+v, want %+v", tt.prompt, s, tt)
		}
	}
}

// The reports are those of claude, codex 0.169.0, gemini 0.61.0 and kimi 2.1.0.
func TestFirstLineOfToolReports(t *testing.T) {
	for _, tt := range []struct{ report, want string }{
		{"out-42\ntwo\n", "out-42"},
		{"Chunk ID: a40d38\nWall time: 0.0000 seconds\nProcess exited with code 0\nOutput:\nout-42\ntwo\n", "out-42"},
		{"<untrusted_context>\nOutput: out-42\ntwo\nProcess Group PGID: 15910\n</untrusted_context>", "out-42"},
		{"Wall time: 0.018 seconds\nout-42\ntwo\n", "out-42"},
		{"", ""},
	} {
		if got := firstLine(tt.report); got != tt.want {
			t.Errorf("firstLine(%q) = %q, want %q", tt.report, got, tt.want)
		}
	}
}

func TestChatUsageOnlyWhenAsked(t *testing.T) {
	for _, include := range []bool{false, true} {
		s, c := ForTest(t), chatClient()
		plain := c.body
		c.body = func(stream bool, turns []turn, tool bool) any {
			in := plain(stream, turns, tool).(map[string]any)
			in["stream_options"] = map[string]any{"include_usage": include}
			return in
		}
		a := ask(t, s, c, true, false, user("SCN=text N=1"))
		chunk := a.lines[len(a.lines)-2]
		if got := jsonHas(t, chunk, "usage"); got != include {
			t.Errorf("include_usage %t: last chunk %s", include, chunk)
		}
	}
}
