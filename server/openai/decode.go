package openai

import (
	"net/http"
	"slices"

	"penstock/server/dialect"
	"penstock/server/web"
)

// DecodeChat turns the body of a POST /v1/chat/completions and its headers into a request;
// every error is a 400 naming the field.
func DecodeChat(body []byte, h http.Header) (*dialect.Request, error) {
	f, err := web.ParseObject(body, "")
	if err != nil {
		return nil, err
	}
	q := &dialect.Request{Turns: "messages"}
	if err := q.DecodeCommon(f, h); err != nil {
		return nil, err
	}
	c := chatRequest{q}
	for _, step := range []func(web.Fields) error{c.messages, c.streamOptions, c.effort, c.person, c.format, chatTools, unsupported} {
		if err := step(f); err != nil {
			return nil, err
		}
	}
	q.DropBilling()
	q.SetIgnored(chatHandled)
	return q, nil
}

// chatRequest fills a request from the fields of a chat completion.
type chatRequest struct{ *dialect.Request }

func (q chatRequest) messages(f web.Fields) error {
	raw, err := f.Array("messages", "", "an array")
	if err != nil {
		return err
	}
	switch {
	case len(raw) == 0 && f.Given("input"):
		return web.BadRequest("messages", "messages are needed: input is of /v1/responses")
	case len(raw) == 0:
		return web.BadRequest("messages", "messages must not be empty")
	}
	for i, one := range raw {
		m, err := decodeMessage(one, i)
		if err != nil {
			return err
		}
		q.Messages = append(q.Messages, m)
	}
	if !slices.ContainsFunc(q.Messages, func(m dialect.Message) bool { return m.Role != dialect.System }) {
		return web.BadRequest("messages", "messages has only system text: a user message is needed")
	}
	return nil
}

func (q chatRequest) streamOptions(f web.Fields) error {
	if !f.Given("stream_options") {
		return nil
	}
	options, err := f.Object("stream_options")
	if err != nil {
		return err
	}
	return options.Into("include_usage", "stream_options", &q.IncludeUsage, "true or false")
}

func (q chatRequest) effort(f web.Fields) error {
	var theirs string
	if err := f.Into("reasoning_effort", "", &theirs, "a string"); err != nil {
		return err
	}
	return q.SetEffort("reasoning_effort", theirs)
}

func (q chatRequest) format(f web.Fields) error {
	o, err := decodeFormat(f, "response_format", "")
	if err != nil {
		return err
	}
	return o.into(q.Request, "json_schema")
}

// person: they have no effect beyond telling people apart, and are told as ignored where
// nothing asks for that (server).
func (q chatRequest) person(f web.Fields) error { return decodePerson(q.Request, f) }

// decodePerson takes OpenAI's names for one of several people that share a token.
func decodePerson(q *dialect.Request, f web.Fields) error {
	for _, key := range []string{"user", "safety_identifier"} { // the newer one counts
		if raw := f[key]; web.KindOf(raw) == '"' {
			text, err := web.Unquote(raw)
			if err != nil {
				return web.BadRequest(key, "%s must be a string", key)
			}
			q.Person = text
		}
	}
	return nil
}
