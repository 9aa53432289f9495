package openai

import (
	"bytes"
	"encoding/json"
	"slices"

	"penstock/server/web"
)

// chatHandled are the fields that have an effect, or whose only accepted values
// ask for what happens anyway.
var chatHandled = []string{
	"messages", "stream_options", "reasoning_effort",
	"n", "logprobs", "top_logprobs", "stop", "tool_choice", "function_call", "response_format", "modalities", "audio",
}

// unsupported refuses the fields whose being ignored would give a wrong answer.
func unsupported(f web.Fields) error {
	n := 1
	if err := f.Into("n", "", &n, "a whole number"); err != nil {
		return err
	}
	if n != 1 {
		return web.BadRequest("n", "n must be 1: one run gives one answer")
	}
	logprobs := false
	if err := f.Into("logprobs", "", &logprobs, "true or false"); err != nil {
		return err
	}
	if logprobs {
		return web.BadRequest("logprobs", "logprobs can't be had from a command line agent")
	}
	top := 0
	if err := f.Into("top_logprobs", "", &top, "a whole number"); err != nil {
		return err
	}
	if top != 0 {
		return web.BadRequest("top_logprobs", "logprobs can't be had from a command line agent")
	}
	if f.Given("stop") && !emptyStop(f["stop"]) {
		return web.BadRequest("stop", "stop sequences can't be honoured")
	}
	for _, key := range []string{"tool_choice", "function_call"} {
		if f.Given(key) && !oneOf(f[key], "auto", "none") {
			return web.BadRequest(key, "%s must be auto or none: the agent uses its own tools", key)
		}
	}
	if f.Given("audio") {
		return web.BadRequest("audio", "audio can't be had from a command line agent")
	}
	if f.Given("modalities") {
		var kinds []string
		if err := f.Into("modalities", "", &kinds, "an array of strings"); err != nil {
			return err
		}
		if slices.ContainsFunc(kinds, func(k string) bool { return k != "text" }) {
			return web.BadRequest("modalities", "only text can be had")
		}
	}
	return responseFormat(f)
}

func responseFormat(f web.Fields) error {
	if !f.Given("response_format") {
		return nil
	}
	format, err := f.Object("response_format")
	if err != nil {
		return err
	}
	var kind string
	if err := format.Into("type", "response_format", &kind, "a string"); err != nil {
		return err
	}
	if kind != "text" {
		return web.BadRequest("response_format", "response_format %q can't be honoured: only text", web.Clip(kind, 40))
	}
	return nil
}

func oneOf(raw json.RawMessage, words ...string) bool {
	var s string
	return json.Unmarshal(raw, &s) == nil && slices.Contains(words, s)
}

func emptyStop(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return bytes.Equal(raw, []byte(`""`)) || bytes.Equal(raw, []byte(`[]`))
}
