package server

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/server/web"
)

// The whole reply has the same facts as the stream.
func TestWholeHasTheFactsOfTheStream(t *testing.T) {
	s := serve(t, nil)
	script := `yes '{"text":"word \"é\" and a line of text that goes on and on\n"}' | head -n 3000; cat <<'END'
{"reasoning":"so "}
{"tool":{"id":"t1","name":"Bash","status":"completed","output":"<ok>"}}
{"reasoning":"be it"}
{"text":"end"}
{"usage":{"prompt_tokens":3,"completion_tokens":4,"cost_usd":0.5}}
{"done":true}
END`
	streamed := s.chat("lines", script, true, `,"stream_options":{"include_usage":true},"metadata":{"k":"v"}`)
	var reasoning, tools strings.Builder
	for _, c := range streamed.chunks {
		for _, ch := range c.Choices {
			reasoning.WriteString(ch.Delta.Reasoning)
			if ch.Delta.Tool != nil {
				fmt.Fprint(&tools, *ch.Delta.Tool)
			}
		}
	}
	r := s.chat("lines", script, false, `,"metadata":{"k":"v"}`)
	if r.status != 200 || len(r.chunks) != 1 || r.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v %s", r.status, r.header, web.Clip(r.body, 300))
	}
	if len(r.text) < 3000*40 || r.text != streamed.text || r.finish != streamed.finish {
		t.Errorf("text of %d bytes, finish %q; streamed %d, %q", len(r.text), r.finish, len(streamed.text), streamed.finish)
	}
	c, account := r.chunks[0], streamed.chunks[len(streamed.chunks)-1]
	m := c.Choices[0].Message
	if reasoning.Len() == 0 || m.Reasoning != reasoning.String() || len(m.Tools) != 1 || fmt.Sprint(m.Tools[0]) != tools.String() {
		t.Errorf("reasoning %q tools %v; streamed %q %s", m.Reasoning, m.Tools, reasoning.String(), tools.String())
	}
	if diff := cmp.Diff(account.Usage, c.Usage); diff != "" || c.Usage == nil {
		t.Errorf("usage %v\n%s", c.Usage, diff)
	}
	if diff := cmp.Diff(account.Cost, c.Cost); diff != "" || c.Cost == nil {
		t.Errorf("cost %v\n%s", c.Cost, diff)
	}
	if c.Receipt == nil || c.Receipt.EnforcedBy.Kill != account.Receipt.EnforcedBy.Kill || string(c.Metadata) != `{"k":"v"}` {
		t.Errorf("receipt %+v metadata %s", c.Receipt, c.Metadata)
	}
}

func TestWholeAfterTakingBack(t *testing.T) {
	s := serve(t, nil)
	r := s.chat("lines", `echo '{"text":"keep this, not that"}'; echo '{"void":9}'; echo '{"text":"!"}'; echo '{"done":true}'`, false, "")
	if r.text != "keep this!" || r.finish != "stop" {
		t.Errorf("%+v", r)
	}
}
