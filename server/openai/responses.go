package openai

import (
	"encoding/json"
	"net/http"
	"slices"

	"penstock/server/dialect"
	"penstock/server/web"
)

// DecodeResponses turns the body of a POST /v1/responses and its headers into a request;
// every error is a 400 naming the field.
func DecodeResponses(body []byte, h http.Header) (*dialect.Request, error) {
	f, err := web.ParseObject(body, "")
	if err != nil {
		return nil, err
	}
	q := &dialect.Request{Turns: "input"}
	if err := q.DecodeCommon(f, h); err != nil {
		return nil, err
	}
	r := responsesRequest{Request: q}
	for _, step := range []func(web.Fields) error{
		elsewhere, r.input, r.keeping, r.reasoning, r.text, r.person, responsesTools, unsupported, r.repeated,
	} {
		if err := step(f); err != nil {
			return nil, err
		}
	}
	q.SetIgnored(responsesHandled)
	return q, nil
}

// responsesHandled are the fields that have an effect, or whose only accepted values ask
// for what happens anyway.
var responsesHandled = []string{
	"input", "instructions", "previous_response_id", "store", "background", "reasoning", "text", "tool_choice",
	"n", "logprobs", "top_logprobs", "stop", "modalities", "audio",
}

// elsewhere refuses what a request asks for in the words of another dialect, or has not
// been built: to ignore it would give a wrong answer.
func elsewhere(f web.Fields) error {
	for _, row := range [][2]string{
		{"conversation", "conversations are not kept: send previous_response_id, or the whole input"},
		{"prompt", "prompt templates are not known: send instructions and input"},
		{"moderation", "moderation can't be had from a command line agent"},
		{"response_format", "response_format is text.format here"},
	} {
		if key := row[0]; f.Given(key) {
			return web.BadRequest(key, "%s", row[1])
		}
	}
	return nil
}

// responsesRequest fills a request from the fields of a response.
type responsesRequest struct {
	*dialect.Request

	instructions string
	format       format
	summary      string // reasoning.summary
	items        []json.RawMessage
}

func (q *responsesRequest) input(f web.Fields) error {
	if err := f.Into("instructions", "", &q.instructions, "a string"); err != nil {
		return err
	}
	if q.instructions != "" {
		q.Messages = append(q.Messages, dialect.Message{Role: dialect.System, Text: q.instructions})
	}
	in := inputItems{messages: q.Messages}
	switch kind := web.KindOf(f["input"]); {
	case kind == '"':
		q.items = []json.RawMessage{slices.Concat([]byte(`{"role":"user","content":`), f["input"], []byte(`}`))}
	case kind == '[':
		var err error
		if q.items, err = f.Array("input", "", "an array"); err != nil {
			return err
		}
	case f.Given("input"):
		return web.BadRequest("input", "input must be a string or an array of items")
	case f.Given("messages"):
		return web.BadRequest("input", "input is needed: messages are of /v1/chat/completions")
	default:
		return web.BadRequest("input", "input is needed")
	}
	if len(q.items) == 0 {
		return web.BadRequest("input", "input must not be empty")
	}
	if err := in.decode(q.items); err != nil {
		return err
	}
	q.Messages, q.Ignored = in.messages, append(q.Ignored, in.ignored...)
	q.DropBilling()
	if !slices.ContainsFunc(q.Messages, func(m dialect.Message) bool { return m.Role != dialect.System }) {
		return web.BadRequest("input", "input has nothing but system text: a user message is needed")
	}
	return nil
}

// keeping takes what is continued, and what is kept.
func (q *responsesRequest) keeping(f web.Fields) error {
	if err := f.Into("previous_response_id", "", &q.Previous, "a string"); err != nil {
		return err
	}
	if len(q.Previous) > idMax || f.Given("previous_response_id") && q.Previous == "" {
		return web.BadRequest("previous_response_id", "previous_response_id must be the id of a response")
	}
	store := true
	if err := f.Into("store", "", &store, "true or false"); err != nil {
		return err
	}
	q.Discard = !store
	if err := f.Into("background", "", &q.Background, "true or false"); err != nil {
		return err
	}
	if q.Background && q.Discard {
		return web.BadRequest("background", "background needs store: what is not kept can't be asked for later")
	}
	return nil
}

// reasoning takes the effort. Summaries are sent whatever kind of them is asked for.
func (q *responsesRequest) reasoning(f web.Fields) error {
	if !f.Given("reasoning") {
		return nil
	}
	settings, err := f.Object("reasoning")
	if err != nil {
		return err
	}
	var effort string
	if err := settings.Into("effort", "reasoning", &effort, "a string"); err != nil {
		return err
	}
	if err := settings.Into("summary", "reasoning", &q.summary, "a string"); err != nil {
		return err
	}
	q.ignoreMembers("reasoning", settings, "effort", "summary")
	return q.SetEffort("reasoning.effort", effort)
}

func (q *responsesRequest) text(f web.Fields) error {
	q.format.kind = "text"
	if !f.Given("text") {
		return nil
	}
	settings, err := f.Object("text")
	if err != nil {
		return err
	}
	if q.format, err = decodeFormat(settings, "format", "text"); err != nil {
		return err
	}
	q.ignoreMembers("text", settings, "format")
	return q.format.into(q.Request, "")
}

func (q *responsesRequest) person(f web.Fields) error { return decodePerson(q.Request, f) }

// ignoreMembers notes those of a field's members that are not handled.
func (q *responsesRequest) ignoreMembers(field string, members web.Fields, handled ...string) {
	for key := range members {
		if members.Given(key) && !slices.Contains(handled, key) {
			q.Ignored = append(q.Ignored, field+"."+key)
		}
	}
}

// responsesTools refuses what an agent that uses its own tools would not do, and can't give.
func responsesTools(f web.Fields) error {
	if err := toolChoice(f, "tool_choice", "text.format"); err != nil {
		return err
	}
	var include []string
	if err := f.Into("include", "", &include, "an array of strings"); err != nil {
		return err
	}
	if slices.Contains(include, "message.output_text.logprobs") {
		return noLogprobs("include")
	}
	return nil
}

// repeated notes what the response says again, and what is kept of the request with it.
func (q *responsesRequest) repeated(f web.Fields) (err error) {
	if q.Echo, err = q.echo(f); err != nil || q.Discard {
		return err
	}
	q.Asked = &dialect.Asked{Echo: q.Echo, Input: q.items, Previous: q.Previous, System: systemHash(q.Messages)}
	return nil
}

func (q *responsesRequest) echo(f web.Fields) (json.RawMessage, error) {
	e := newEcho()
	e.Background, e.Store = q.Background, !q.Discard
	e.Instructions = short(q.instructions, echoInstructions)
	if len(q.Metadata) > 0 && len(q.Metadata) <= echoMetadata {
		e.Metadata = q.Metadata
	}
	if err := f.Into("parallel_tool_calls", "", &e.ParallelToolCalls, "true or false"); err != nil {
		return nil, err
	}
	e.Previous = short(q.Previous, echoWord)
	for _, one := range []struct {
		key string
		to  **string
	}{{"prompt_cache_key", &e.PromptCacheKey}, {"safety_identifier", &e.SafetyIdentifier}, {"user", &e.User}} {
		var text string
		if err := f.Into(one.key, "", &text, "a string"); err != nil {
			return nil, err
		}
		*one.to = short(text, echoWord)
	}
	e.Reasoning = echoReasoning{Effort: short(q.Effort, echoWord), Summary: short(q.summary, echoWord)}
	if q.format.kind != "text" {
		e.Text.Format = q.format.echo()
	}
	if oneOf(f["tool_choice"], "none") {
		e.ToolChoice = "none"
	}
	return web.Marshal(e)
}
