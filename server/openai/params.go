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
		return noLogprobs("logprobs")
	}
	top := 0
	if err := f.Into("top_logprobs", "", &top, "a whole number"); err != nil {
		return err
	}
	if top != 0 {
		return noLogprobs("top_logprobs")
	}
	if f.Given("stop") && !emptyStop(f["stop"]) {
		return web.BadRequest("stop", "stop sequences can't be honoured")
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
	return nil
}

func noLogprobs(field string) error {
	return web.BadRequest(field, "logprobs can't be had from a command line agent")
}

// chatTools refuses what an agent that uses its own tools would not do.
func chatTools(f web.Fields) error {
	for _, key := range []string{"tool_choice", "function_call"} {
		if err := toolChoice(f, key, "response_format"); err != nil {
			return err
		}
	}
	return nil
}

// toolChoice takes what leaves the choice to the agent. Clients force a tool to get an answer of a given
// shape, which format asks for.
func toolChoice(f web.Fields, key, format string) error {
	free := f[key]
	if web.KindOf(free) == '{' {
		choice, err := f.Object(key)
		if err != nil {
			return err
		}
		if oneOf(choice["type"], "allowed_tools") {
			free = choice["mode"]
		}
	}
	if f.Given(key) && !oneOf(free, "auto", "none") {
		return web.BadRequest(key, "%s must be auto or none: the agent uses its own tools (hint: %s asks for an answer by a schema)", key, format)
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
