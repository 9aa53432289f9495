package acp

import (
	"encoding/json"

	"penstock/backend"
	"penstock/backend/jsonrpc"
	"penstock/backend/parse"
)

// promptResult is the answer to session/prompt. Usage is opencode's: the tokens of
// the turn's last model call, not of the turn (1.18.33); gemini tells those of the turn (0.61.0).
type promptResult struct {
	StopReason string `json:"stopReason"`
	Usage      struct {
		Input  parse.Count `json:"inputTokens"` // cached ones not included
		Output parse.Count `json:"outputTokens"`
		Read   parse.Count `json:"cachedReadTokens"`
		Write  parse.Count `json:"cachedWriteTokens"`
		Think  parse.Count `json:"thoughtTokens"`
	} `json:"usage"`
	Meta struct {
		Quota struct {
			Tokens struct {
				Input  parse.Count `json:"input_tokens"`
				Output parse.Count `json:"output_tokens"`
			} `json:"token_count"`
		} `json:"quota"`
	} `json:"_meta"`
}

// spent are the tokens of all turns.
type spent struct{ prompt, completion, cached, reasoning parse.Total }

// turnEnded decides what the turn came to; what the profile still wants to ask
// goes before the terminal event.
func (m *machine) turnEnded(answer jsonrpc.Message) {
	if answer.Error != nil {
		m.fail(m.promptFailure(*answer.Error))
		return
	}
	var result promptResult
	parse.Decode(answer.Result, &result)
	m.usage(result)
	finish := "stop"
	switch result.StopReason {
	case "end_turn":
	case "max_tokens", "max_turn_requests":
		finish = "length"
	case "refusal":
		finish = "content_filter"
	default:
		m.fail(parse.ProviderFailure(0, "the turn ended as "+parse.Bound(result.StopReason, parse.NoticeMax)))
		return
	}
	m.settle(backend.Event{Kind: backend.Done, Finish: finish})
}

// promptFailure is why the agent broke the turn off. What it says of a model call
// that failed need not have the status, and gemini has one for all that it doesn't know.
func (m *machine) promptFailure(e jsonrpc.Error) *backend.Failure {
	failure := failureOf("session/prompt", e)
	if m.models.Told() && !m.calls.Told && failure.Code == "cli_error" && failure.Status == 0 {
		return parse.UnsupportedInput("the agent refused the prompt with its images, before it called the model: " + failure.Message)
	}
	if seen := m.calls.Failure(); seen != nil {
		return seen
	}
	return failure
}

// settle makes sure of the text and of the saved session, in that order, and
// then gives the terminal event. opencode sends text up to its result and some
// milliseconds after it.
func (m *machine) settle(last backend.Event) {
	switch {
	case !m.barred && !m.profile.tally:
		m.barred = true
		m.barrier(func() { m.settle(last) })
	case m.profile.tally && !m.tally.final:
		m.askUsage(func() { m.tallied(last) })
	case m.profile.verify && m.verifier == nil && !m.calls.Told && !m.text.none():
		m.verify(func() { m.settle(last) })
	case m.profile.close:
		m.rpc.Call("session/close", map[string]any{"sessionId": m.session}, func(jsonrpc.Message) { m.end(m.verdict(last)) })
	default:
		m.end(m.verdict(last))
	}
}

// verdict is the terminal event from the agent's own last word and all else that
// is known of the turn: agents call some failed turns good ones.
func (m *machine) verdict(last backend.Event) backend.Event {
	if last.Kind != backend.Done {
		return last
	}
	if f := m.calls.Failure(); f != nil {
		return backend.Event{Kind: backend.Failed, Failure: f}
	}
	if m.failed {
		return m.told()
	}
	if last.Finish == "stop" {
		last.Finish = parse.FinishReason(m.calls.Finish)
	}
	if last.Finish == "stop" && m.text.none() && !m.tools.used {
		return backend.Event{Kind: backend.Failed, Failure: parse.ProviderFailure(0,
			"the turn ended without text or tool use, and the agent gives no reason")}
	}
	return last
}

// usage reports what the result tells, and says when that is not the whole turn.
func (m *machine) usage(result promptResult) {
	u, quota, s := result.Usage, result.Meta.Quota.Tokens, &m.spent
	told := u.Input.Some() || u.Output.Some()
	if told {
		s.prompt.Add(u.Input.With(u.Read, u.Write))
		s.completion.Add(u.Output)
		s.cached.Add(u.Read)
		s.reasoning.Add(u.Think)
	} else {
		s.prompt.Add(quota.Input)
		s.completion.Add(quota.Output)
	}
	m.emit(parse.Tokens{Prompt: s.prompt.Sum, Completion: s.completion.Sum, Cached: s.cached.Sum, Reasoning: s.reasoning.Sum}.Report(nil)...)
	if told && m.tools.used {
		m.emit(backend.Event{Kind: backend.Notice, Text: "usage: the agent tells the tokens of the turn's last model call only"})
	}
}

// authRequired is the protocol's own error code.
const authRequired = -32000

// withLogin tells where the agent looks for a login, if that isn't where its other forms do.
func (m *machine) withLogin(e jsonrpc.Error, f *backend.Failure) *backend.Failure {
	if e.Code == authRequired && m.profile.login != "" {
		f.Message = parse.Bound(f.Message, parse.FailureMax-len(m.profile.login)) + m.profile.login
	}
	return f
}

// failureOf finds the provider's HTTP status where agents put it: as the error's
// code (gemini), in the data, or in the message.
func failureOf(what string, e jsonrpc.Error) *backend.Failure {
	message := e.Message
	var data struct {
		Details string `json:"details"`
		Message string `json:"message"`
		Status  int    `json:"statusCode"`
	}
	if !parse.Decode(e.Data, &data) {
		json.Unmarshal(e.Data, &data.Details) // a string, or nothing
	}
	for _, more := range []string{data.Details, data.Message} {
		if more != "" && more != message {
			message += ": " + more
		}
	}
	status := data.Status
	if status == 0 && e.Code >= 400 && e.Code < 600 {
		status = e.Code
	}
	if status == 0 {
		status = parse.StatusIn(message)
	}
	if what != "session/prompt" {
		message = what + ": " + message
	}
	failure := parse.ProviderFailure(status, message)
	if e.Code == authRequired {
		failure.Code = "provider_auth"
	}
	return failure
}
