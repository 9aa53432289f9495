package openai

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"penstock/server/web"
)

// handled are the fields that have an effect, or whose only accepted values
// ask for what happens anyway.
var handled = []string{
	"model", "messages", "stream", "stream_options", "session_id", "cwd", "timeout_ms", "limits", "effort", "reasoning_effort", "metadata",
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

// ignored lists what was asked for without effect. Null asks for nothing.
func ignored(f web.Fields) []string {
	var out []string
	for key := range f {
		if f.Given(key) && !slices.Contains(handled, key) {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

const ignoredMax = 1024 // bytes of the header

// IgnoredHeader is the value of X-Penstock-Ignored; names that a header can't
// carry are shown with question marks.
func IgnoredHeader(names []string) string {
	var b strings.Builder
	for _, name := range names {
		safe := strings.Map(func(r rune) rune {
			if r <= 0x20 || r >= 0x7f || r == ',' {
				return '?'
			}
			return r
		}, web.Clip(name, 64))
		if b.Len()+len(safe) > ignoredMax {
			b.WriteString(", ...")
			break
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(safe)
	}
	return b.String()
}
