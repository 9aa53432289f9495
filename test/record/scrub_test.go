package main

import (
	"strings"
	"testing"

	"penstock/test/model"
)

func TestScrub(t *testing.T) {
	m := model.ForTest(t)
	p := &place{base: "/tmp/record-1", home: "/tmp/record-1/home", cwd: "/tmp/record-1/cwd", tmp: "/tmp/record-1/tmp", dir: "/tmp/record-1/run", model: m}
	a, b := "0a1b2c3d-0000-7000-8000-aaaaaaaaaaaa", "0a1b2c3d-0000-7000-8000-bbbbbbbbbbbb"
	for _, row := range []struct{ in, want string }{
		{`"cwd":"/tmp/record-1/cwd/x"`, `"cwd":"/home/user/project/x"`},
		{`-tmp-record-1-cwd`, `-home-user-project`},
		{`/src/penstock/test/clis`, `/penstock/test/clis`},
		{m.URL() + "/v1", "http://127.0.0.1:18080/v1"},
		{a + " " + b + " " + a, "00000000-0000-4000-8000-000000000001 00000000-0000-4000-8000-000000000002 00000000-0000-4000-8000-000000000001"},
		{`"timestamp":"2031-05-06T07:08:09.123Z","t":1795433999898`, `"timestamp":"2026-01-01T00:00:00.000Z","t":1767225600000`},
		{`"duration_ms":123.5,"input_tokens":7`, `"duration_ms":1,"input_tokens":7`},
		{`"a":"` + strings.Repeat(`x\"`, 300) + `","b":"short"`, `"a":"(long text cut)","b":"short"`},
		{`"description":"` + strings.Repeat("x", 60) + `","description":"short"`, `"description":"(long text cut)","description":"short"`},
		{`{"type":"control_response","response":{"subtype":"success","request_id":"initialize","response":{"pid":7,"models":[{}]},"pending_permission_requests":[]}}`,
			`{"type":"control_response","response":{"subtype":"success","request_id":"initialize","response":{}}}`},
		{`"a":"` + strings.Repeat("x", 399) + `"`, `"a":"` + strings.Repeat("x", 399) + `"`},
	} {
		if got := string(newScrubber(p, "/src/penstock").scrub([]byte(row.in))); got != row.want {
			t.Errorf("scrub %q\n got %q\nwant %q", row.in, got, row.want)
		}
	}
}
