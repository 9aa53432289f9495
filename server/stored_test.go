package server

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/config"
)

// memo is an agent with sessions of its own: it answers with the texts that a session was told,
// each on a line, and remembers them in its working directory.
const memo = `cat > now; n=$(tail -c 2000 now | tr '\n' ' ')
[ -n "$AGENT_SESSION" ] && [ ! -e "$AGENT_SESSION" ] && { echo '{"error":{"message":"gone","session_unknown":true}}'; exit 1; }
s=${AGENT_SESSION:-s$$}; echo "$n" >> "$s"
echo "{\"session\":\"$s\"}"
printf '{"text":"%s"}\n' "$(sed 's/["\\]/ /g; s/$/;/' "$s" | tr -d '\n')"
echo '{"done":true}'`

// withMemo has the agent as a backend, and as others of other names.
func withMemo(t *testing.T) func(*config.Config) {
	program := filepath.Join(t.TempDir(), "memo")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+memo), 0o755); err != nil {
		t.Fatal(err)
	}
	return func(c *config.Config) {
		for _, name := range []string{"memo", "other"} {
			c.Backends[name] = config.Backend{Name: name, Kind: "jsonl", Command: []string{program}, Configured: true, Limits: limitsOf()}
		}
	}
}

// response is a response object, as far as it matters here.
type response struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Previous string `json:"previous_response_id"`
	Output   []struct {
		ID      string
		Type    string
		Content []struct{ Text string }
	} `json:"output"`
	Session *struct {
		ID      string
		Resumed bool
	} `json:"x_session"`
	Error *struct{ Code, Message string } `json:"error"`
	Cause string                          `json:"x_cause"`
}

func (r response) text() (text string) {
	for _, item := range r.Output {
		for _, c := range item.Content {
			text += c.Text
		}
	}
	return strings.TrimSpace(text)
}

func (s *served) response(method, path, body string, header ...string) (r response, status int) {
	s.t.Helper()
	got := s.ask(method, path, body, header...)
	if err := json.Unmarshal([]byte(got.body), &r); err != nil && got.status == 200 {
		s.t.Fatalf("%s %s: %v: %s", method, path, err, got.body)
	}
	return r, got.status
}

func (s *served) respond(model, input, more string, header ...string) response {
	s.t.Helper()
	text, _ := json.Marshal(input)
	r, status := s.response("POST", "/v1/responses", `{"model":"`+model+`","input":`+string(text)+more+`}`, header...)
	if status != 200 {
		s.t.Fatalf("%s: status %d", input, status)
	}
	return r
}

// A response is there under its id until it is deleted, with what it was asked.
func TestResponses_Stored(t *testing.T) {
	s := serve(t, nil)
	for _, run := range []string{"", "name:with.marks"} {
		var header []string
		if run != "" {
			header = []string{"X-Run-Id", run}
		}
		made := s.respond("upper", "hello", `,"metadata":{"k":"v"}`, header...)
		if made.Status != "completed" || made.text() != "HELLO" {
			t.Fatalf("%+v", made)
		}
		path := "/v1/responses/" + made.ID
		whole := s.ask("GET", path, "")
		again := s.ask("GET", path, "")
		if whole.status != 200 || whole.body != again.body || !strings.Contains(whole.body, `"metadata":{"k":"v"}`) {
			t.Errorf("%d %s", whole.status, whole.body)
		}
		if got, _ := s.response("GET", path, ""); got.text() != "HELLO" || got.ID != made.ID {
			t.Errorf("%+v", got)
		}
		if input := s.ask("GET", path+"/input_items", ""); input.status != 200 || !strings.Contains(input.body, `"hello"`) || !strings.Contains(input.body, `"object":"list"`) {
			t.Errorf("%d %s", input.status, input.body)
		}
		if gone := s.ask("DELETE", path, ""); gone.status != 200 || !strings.Contains(gone.body, `"deleted":true`) {
			t.Errorf("%d %s", gone.status, gone.body)
		}
		for _, method := range []string{"GET", "DELETE"} {
			if r := s.ask(method, path, ""); r.status != 404 || r.code() != "response_not_found" {
				t.Errorf("%s: %d %s", method, r.status, r.body)
			}
		}
	}
}

// Nothing is kept of an answer that is not to be stored but its run's record.
func TestResponses_NotStored(t *testing.T) {
	s := serve(t, nil)
	made := s.ask("POST", "/v1/responses", `{"model":"upper","input":"hello","store":false}`)
	var r response
	if err := json.Unmarshal([]byte(made.body), &r); err != nil || r.text() != "HELLO" {
		t.Fatalf("%v %s", err, made.body)
	}
	if got := s.ask("GET", "/v1/responses/"+r.ID, ""); got.status != 404 {
		t.Errorf("%d %s", got.status, got.body)
	}
	run := made.header.Get("X-Run-Id")
	if got := s.ask("GET", "/v1/runs/"+run, ""); got.status != 200 {
		t.Errorf("record: %d", got.status)
	}
	eventually(t, "its output is gone", func() bool {
		return !strings.Contains(s.ask("GET", "/v1/runs/"+run+"/events", "").body, "HELLO")
	})
	for _, more := range []string{`"background":true`, `"previous_response_id":"resp_nothing"`} {
		if got := s.ask("POST", "/v1/responses", `{"model":"upper","input":"x","store":false,`+more+`}`); got.status/100 != 4 {
			t.Errorf("%s: %d", more, got.status)
		}
	}
}

// A turn goes on in the CLI's session where that has gone no further; any other is told the
// conversation anew, and the answer is right either way.
func TestResponses_Previous(t *testing.T) {
	s := serve(t, withMemo(t))
	first := s.respond("memo", "one", "")
	second := s.respond("memo", "two", `,"previous_response_id":"`+first.ID+`"`)
	if second.text() != "one ;two ;" && second.text() != "one;two;" || second.Session == nil || !second.Session.Resumed || second.Previous != first.ID {
		t.Errorf("in the session: %+v", second)
	}
	branch := s.respond("memo", "three", `,"previous_response_id":"`+first.ID+`"`)
	for _, part := range []string{"one", "three", "conversation"} {
		if !strings.Contains(branch.text(), part) || strings.Contains(branch.text(), "two") {
			t.Errorf("an older turn: %q", branch.text())
		}
	}
	if branch.Session == nil || branch.Session.Resumed || branch.Session.ID == second.Session.ID {
		t.Errorf("an older turn: %+v", branch.Session)
	}
	moved := s.respond("other", "four", `,"previous_response_id":"`+second.ID+`"`)
	for _, part := range []string{"one", "two", "four"} {
		if !strings.Contains(moved.text(), part) {
			t.Errorf("another backend: %q lacks %q", moved.text(), part)
		}
	}
	third := s.respond("memo", "five", `,"previous_response_id":"`+second.ID+`","instructions":"be brief"`)
	if third.Session.Resumed || !strings.Contains(third.text(), "be brief") || !strings.Contains(third.text(), "one") {
		t.Errorf("other instructions: %+v", third)
	}
	for _, row := range []struct{ id, code string }{{"resp_nothing", "response_not_found"}, {"nothing", "response_not_found"}} {
		got := s.ask("POST", "/v1/responses", `{"model":"memo","input":"x","previous_response_id":"`+row.id+`"}`)
		if got.status != 404 || got.code() != row.code {
			t.Errorf("%s: %d %s", row.id, got.status, got.body)
		}
	}
}

// Of two requests that go on from the same turn one has its session, whichever comes first.
func TestResponses_ClaimedOnce(t *testing.T) {
	s := serve(t, withMemo(t))
	first := s.respond("memo", "one", "")
	var both sync.WaitGroup
	got := make([]response, 2)
	for i := range got {
		both.Go(func() {
			got[i] = s.respond("memo", fmt.Sprint("next", i), `,"previous_response_id":"`+first.ID+`"`)
		})
	}
	both.Wait()
	if got[0].Session.Resumed == got[1].Session.Resumed || got[0].Session.ID == got[1].Session.ID {
		t.Errorf("%+v\n%+v", got[0], got[1])
	}
	for i, r := range got {
		if !strings.Contains(r.text(), "one") || !strings.Contains(r.text(), fmt.Sprint("next", i)) || strings.Contains(r.text(), fmt.Sprint("next", 1-i)) {
			t.Errorf("%d: %q", i, r.text())
		}
	}
}

// An item of an earlier answer stands for its text; another client's reads as none.
func TestResponses_ItemReference(t *testing.T) {
	s := serve(t, withTokens(t, withMemo(t)))
	ann, bob := []string{"Authorization", "Bearer " + annToken}, []string{"Authorization", "Bearer " + bobToken}
	first := s.respond("memo", "the cat", "", ann...)
	body := `{"model":"memo","input":[{"role":"user","content":"the cat"},{"type":"item_reference","id":"` + first.Output[0].ID + `"},{"role":"user","content":"and?"}]}`
	second, status := s.response("POST", "/v1/responses", body, ann...)
	if status != 200 || !strings.Contains(second.text(), "assistant") || !strings.Contains(second.text(), "and?") {
		t.Errorf("%d %q", status, second.text())
	}
	// Also where that is told anew, for as long as it is there.
	on := `,"previous_response_id":"` + second.ID + `"`
	if third := s.respond("other", "third", on, ann...); !strings.Contains(third.text(), first.text()) {
		t.Errorf("told anew: %q", third.text())
	}
	for _, body := range []string{body, strings.Replace(body, first.Output[0].ID, "msg0_resp_nothing", 1)} {
		got := s.ask("POST", "/v1/responses", body, bob...)
		if got.status != 404 || got.code() != "response_not_found" || got.err.Param == nil || *got.err.Param != "input[1].id" {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
	if got := s.ask("GET", "/v1/responses/"+first.ID, "", bob...); got.status != 404 {
		t.Errorf("another client's: %d", got.status)
	}
	s.ask("DELETE", "/v1/responses/"+first.ID, "", ann...)
	if got := s.ask("POST", "/v1/responses", `{"model":"other","input":"fourth"`+on+`}`, ann...); got.status != 404 || !strings.Contains(got.body, first.Output[0].ID) {
		t.Errorf("of one that is gone: %d %s", got.status, got.body)
	}
}

// A response that runs can be cancelled, twice, and is deleted only then.
func TestResponses_Cancel(t *testing.T) {
	s := serve(t, nil)
	made := s.respond("sh", "echo so far; sleep 600", `,"background":true`)
	if made.Status != "queued" && made.Status != "in_progress" {
		t.Fatalf("%+v", made)
	}
	path := "/v1/responses/" + made.ID
	eventually(t, "it runs", func() bool {
		r, _ := s.response("GET", path, "")
		return r.Status == "in_progress"
	})
	if got := s.ask("DELETE", path, ""); got.status != 409 || got.code() != "response_busy" {
		t.Errorf("%d %s", got.status, got.body)
	}
	for range 2 {
		if r, status := s.response("POST", path+"/cancel", ""); status != 200 || r.Status != "cancelled" {
			t.Errorf("%d %+v", status, r)
		}
	}
	stream := s.ask("GET", path+"?stream=true", "").body
	if !strings.Contains(stream, `"status":"cancelled"`) || !strings.Contains(stream, "event: error\n") {
		t.Errorf("%s", stream)
	}
	if got := s.ask("DELETE", path, ""); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// An answer in the background whose id was given and that is not started is told as such.
func TestResponses_NotStarted(t *testing.T) {
	s := serve(t, func(c *config.Config) { c.Budget.MaxRuns = 1 })
	busy := s.respond("sh", "sleep 600", `,"background":true`)
	for wait, want := range map[string]struct{ status, cause string }{`,"timeout_ms":200`: {"failed", "queue_timeout"}, ``: {"cancelled", "cancelled"}} {
		made := s.respond("sh", "true", `,"background":true`+wait)
		path := "/v1/responses/" + made.ID
		if want.status == "cancelled" {
			s.response("POST", path+"/cancel", "")
		}
		eventually(t, "it is over", func() bool {
			r, _ := s.response("GET", path, "")
			return r.Status != "queued"
		})
		for _, get := range []struct{ method, path string }{{"GET", path}, {"POST", path + "/cancel"}} {
			if r, status := s.response(get.method, get.path, ""); status != 200 || r.Status != want.status || r.Cause != want.cause {
				t.Errorf("%s %s: %d %+v, want %+v", get.method, get.path, status, r, want)
			}
		}
		stream := s.ask("GET", path+"?stream=true", "")
		if stream.status != 200 || !strings.Contains(stream.body, `"status":"`+want.status+`"`) || !strings.Contains(stream.body, "event: error\n") {
			t.Errorf("%d %s", stream.status, stream.body)
		}
		for _, status := range []int{200, 404} {
			if got := s.ask("DELETE", path, ""); got.status != status {
				t.Errorf("delete: %d %s, want %d", got.status, got.body, status)
			}
		}
	}
	s.response("POST", "/v1/responses/"+busy.ID+"/cancel", "")
}

// A response that is complete is not cancelled: its program saves the session, for the turn after it.
func TestResponses_CancelComplete(t *testing.T) {
	s := serve(t, func(c *config.Config) {
		b := c.Backends["lines"]
		b.Limits.Grace.Duration = time.Minute
		c.Backends["lines"] = b
	})
	saved := filepath.Join(t.TempDir(), "saved")
	made := s.respond("lines", `echo '{"text":"a"}'; echo '{"done":true}'; sleep 0.5; : >`+saved, "")
	if r, status := s.response("POST", "/v1/responses/"+made.ID+"/cancel", ""); status != 200 || r.Status != "completed" {
		t.Errorf("%d %+v", status, r)
	}
	eventually(t, "it saves", func() bool {
		_, err := os.Stat(saved)
		return err == nil || strings.Contains(s.ask("GET", "/v1/runs?state=live", "").body, `"data":[]`)
	})
	if _, err := os.Stat(saved); err != nil {
		t.Error(err)
	}
}

// Each event comes once, wherever its reader comes again.
func TestResponses_StartingAfter(t *testing.T) {
	s := serve(t, nil)
	made := s.respond("lines", `echo '{"reasoning":"hm"}'; for i in 1 2 3; do echo "{\"text\":\"word $i \"}"; done; echo '{"tool":{"name":"sh","status":"started","id":"1","input":"ls"}}'; echo '{"text":"end"}'; echo '{"done":true}'`, "")
	eventually(t, "its receipt is the last one", func() bool {
		return strings.Contains(s.ask("GET", "/v1/runs/"+strings.TrimPrefix(made.ID, "resp_"), "").body, `"state":"finished"`)
	})
	path := "/v1/responses/" + made.ID + "?stream=true"
	all := events(t, s.ask("GET", path, "").body)
	if len(all) < 10 || all[0].Type != "response.created" || all[len(all)-1].Type != "response.completed" {
		t.Fatalf("%+v", all)
	}
	last := int64(-1)
	for i, e := range all {
		if e.Number <= last {
			t.Errorf("%d after %d", e.Number, last)
		}
		last = e.Number
		if i+1 == len(all) {
			break // nothing follows
		}
		rest := events(t, s.ask("GET", fmt.Sprintf("%s&starting_after=%d", path, e.Number), "").body)
		if fmt.Sprint(rest) != fmt.Sprint(all[i+1:]) {
			t.Errorf("after %d: %v\nwant %v", e.Number, rest, all[i+1:])
		}
	}
	for _, bad := range []string{"x", "-1"} {
		if got := s.ask("GET", path+"&starting_after="+bad, ""); got.status != 400 {
			t.Errorf("%s: %d", bad, got.status)
		}
	}
}

// event is one of a stream of responses, with its data.
type event struct {
	Type   string `json:"type"`
	Number int64  `json:"sequence_number"`
	Data   string `json:"-"`
}

func events(t *testing.T, stream string) (out []event) {
	t.Helper()
	for frame := range strings.SplitSeq(stream, "\n\n") {
		_, data, found := strings.Cut(frame, "data: ")
		if !found {
			continue
		}
		data, _, _ = strings.Cut(data, "\n")
		e := event{Data: data}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Fatalf("%v: %s", err, data)
		}
		out = append(out, e)
	}
	return out
}

// What is told anew of earlier answers has a bound before it is put together, whatever it is.
func TestResponses_TooLongToTell(t *testing.T) {
	s := serve(t, withMemo(t))
	big := `{"type":"function_call","call_id":"c","name":"f","arguments":"` + strings.Repeat("x", 6<<20) + `"},{"role":"user","content":"go"}`
	var ids []string
	last := ""
	for range 3 {
		made, status := s.response("POST", "/v1/responses", `{"model":"memo","input":[`+big+`]`+last+`}`)
		if status != 200 || (last != "") != made.Session.Resumed {
			t.Fatalf("%d %+v", status, made.Session)
		}
		last = `,"previous_response_id":"` + made.ID + `"`
		ids = append(ids, `{"type":"item_reference","id":"in0_`+strings.TrimPrefix(made.ID, "resp_")+`"}`)
	}
	for name, c := range map[string]struct{ body, want string }{
		"references": {`"input":[` + strings.Join(ids, ",") + `,{"role":"user","content":"go"}]`, "items that input refers to"},
		"history":    {`"instructions":"others","input":"go"` + last, "the conversation up to"},
	} {
		if got := s.ask("POST", "/v1/responses", `{"model":"memo",`+c.body+`}`); got.status != 413 || got.code() != "body_too_large" || !strings.Contains(got.body, c.want) {
			t.Errorf("%s: %d %.300s", name, got.status, got.body)
		}
	}
	if made, status := s.response("POST", "/v1/responses", `{"model":"memo","input":"go"`+last+`}`); status != 200 || !made.Session.Resumed {
		t.Errorf("%d %+v", status, made.Session)
	}
}

// A client that repeats its conversation goes on in its session; what was changed, and what
// two have said alike, begins anew.
func TestContinuity(t *testing.T) {
	s := serve(t, withTokens(t, func(c *config.Config) {
		withMemo(t)(c)
		c.Clients = map[string]config.Client{"ann": {Continuity: "prefix", Weight: 1}}
	}))
	ann, bob := []string{"Authorization", "Bearer " + annToken}, []string{"Authorization", "Bearer " + bobToken}
	type turn struct{ role, text string }
	say := func(by []string, more string, turns ...turn) (text, session string) {
		t.Helper()
		var all []string
		for _, one := range turns {
			content, _ := json.Marshal(one.text)
			all = append(all, `{"role":"`+one.role+`","content":`+string(content)+`}`)
		}
		r := s.ask("POST", "/v1/chat/completions", `{"model":"memo","messages":[`+strings.Join(all, ",")+`]`+more+`}`, by...)
		if r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		return r.text, r.header.Get("X-Session-Id")
	}
	a1, first := say(ann, `,"user":"a"`, turn{"user", "one"})
	a2, second := say(ann, `,"user":"a"`, turn{"user", "one"}, turn{"assistant", " " + a1 + "\n"}, turn{"user", "two"})
	if first == "" || second != first || strings.Contains(a2, "conversation") || !strings.Contains(a2, "one") {
		t.Errorf("an appended turn: session %q after %q: %q", second, first, a2)
	}
	edited, third := say(ann, `,"user":"a"`, turn{"user", "won"}, turn{"assistant", a1}, turn{"user", "two"})
	if third == first || !strings.Contains(edited, "conversation") {
		t.Errorf("an edited turn: session %q: %q", third, edited)
	}
	if again, older := say(ann, `,"user":"a"`, turn{"user", "one"}, turn{"assistant", a1}, turn{"user", "else"}); older == first || !strings.Contains(again, "conversation") {
		t.Errorf("an older turn: %q: %q", older, again)
	}
	// Another person, and another client, behind the same words.
	if _, other := say(ann, `,"user":"b"`, turn{"user", "one"}, turn{"assistant", a1}, turn{"user", "two"}, turn{"assistant", a2}, turn{"user", "three"}); other == first {
		t.Error("another person goes on in the session")
	}
	if _, other := say(bob, "", turn{"user", "one"}, turn{"assistant", a1}, turn{"user", "two"}); other != "" {
		t.Errorf("a client without continuity has session %q", other)
	}
	// Two people that aren't told apart, with the same first turn.
	b1, one := say(ann, "", turn{"user", "same"})
	b2, two := say(ann, "", turn{"user", "same"})
	if one == two || b1 != b2 {
		t.Fatalf("sessions %q and %q: %q, %q", one, two, b1, b2)
	}
	for range 2 {
		if _, session := say(ann, "", turn{"user", "same"}, turn{"assistant", b1}, turn{"user", "next"}); session == one || session == two {
			t.Errorf("of two that fit one was taken: %q", session)
		}
	}
	// The other one was told in a session with a name, or its CLI is just ending.
	for i, more := range []string{`,"session_id":"named"`, `,"timeout_ms":60000`} {
		text := fmt.Sprint("alike ", i)
		c1, one := say(ann, "", turn{"user", text})
		if c2, two := say(ann, more, turn{"user", text}); two == one || c2 != c1 {
			t.Fatalf("sessions %q and %q: %q, %q", one, two, c1, c2)
		}
		if _, session := say(ann, "", turn{"user", text}, turn{"assistant", c1}, turn{"user", "next"}); session == one {
			t.Errorf("%s: another person's session was taken", more)
		}
	}
}

const annToken, bobToken = "ann's", "bob's"

// withTokens has two clients with names.
func withTokens(t *testing.T, change func(*config.Config)) func(*config.Config) {
	t.Helper()
	return func(c *config.Config) {
		c.Tokens = []config.Token{
			{Name: "ann", SHA256: sha256.Sum256([]byte(annToken))}, {Name: "bob", SHA256: sha256.Sum256([]byte(bobToken))},
		}
		change(c)
	}
}
