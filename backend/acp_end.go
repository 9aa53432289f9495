package backend

// acpResult is the answer to session/prompt. Usage is opencode's: the tokens of
// the turn's last model call, not of the turn (1.18.33).
type acpResult struct {
	StopReason string `json:"stopReason"`
	Usage      struct {
		Input  count `json:"inputTokens"` // cached ones not included
		Output count `json:"outputTokens"`
		Read   count `json:"cachedReadTokens"`
		Write  count `json:"cachedWriteTokens"`
		Think  count `json:"thoughtTokens"`
	} `json:"usage"`
}

// turnEnded decides what the turn came to; what the profile still wants to ask
// goes before the terminal event.
func (m *acpMachine) turnEnded(answer rpcMessage) {
	if answer.Error != nil {
		m.fail(m.promptFailure(*answer.Error))
		return
	}
	var result acpResult
	decode(answer.Result, &result)
	m.usage(result)
	finish := "stop"
	switch result.StopReason {
	case "end_turn":
	case "max_tokens", "max_turn_requests":
		finish = "length"
	case "refusal":
		finish = "content_filter"
	default:
		m.fail(providerFailure(0, "the turn ended as "+bound(result.StopReason, noticeMax)))
		return
	}
	m.settle(Event{Kind: Done, Finish: finish})
}

// promptFailure is why the agent broke the turn off. What it says of a model call
// that failed need not have the status.
func (m *acpMachine) promptFailure(e rpcError) *Failure {
	failure := acpFailure("session/prompt", e)
	if seen := m.calls.failure(); seen != nil && failure.Status == 0 {
		return seen
	}
	return failure
}

// settle makes sure of the text and of the saved session, in that order, and
// then gives the terminal event. opencode sends text up to its result and some
// milliseconds after it.
func (m *acpMachine) settle(last Event) {
	switch {
	case !m.barred && !m.profile.tally:
		m.barred = true
		m.barrier(func() { m.settle(last) })
	case m.profile.tally && !m.tally.final:
		m.askUsage(func() { m.tallied(last) })
	case m.profile.verify && m.verifier == nil && !m.calls.told && len(m.text.parts) > 0:
		m.verify(func() { m.settle(last) })
	case m.profile.close:
		m.rpc.call("session/close", map[string]any{"sessionId": m.session}, func(rpcMessage) { m.end(m.verdict(last)) })
	default:
		m.end(m.verdict(last))
	}
}

// verdict is the terminal event from the agent's own last word and all else that
// is known of the turn: agents call some failed turns good ones.
func (m *acpMachine) verdict(last Event) Event {
	if last.Kind != Done {
		return last
	}
	if f := m.calls.failure(); f != nil {
		return Event{Kind: Failed, Failure: f}
	}
	if m.failed {
		return m.told()
	}
	if last.Finish == "stop" {
		last.Finish = finishReason(m.calls.finish)
	}
	if last.Finish == "stop" && len(m.text.parts) == 0 && !m.tools.used {
		return Event{Kind: Failed, Failure: providerFailure(0,
			"the turn ended without text or tool use, and the agent gives no reason")}
	}
	return last
}

// usage reports what the result tells, and says when that is not the whole turn.
func (m *acpMachine) usage(result acpResult) {
	u := result.Usage
	report := tokens{prompt: u.Input.with(u.Read, u.Write), completion: u.Output, cached: u.Read, reasoning: u.Think}.report(nil)
	m.emit(report...)
	if len(report) > 0 && m.tools.used {
		m.emit(Event{Kind: Notice, Text: "usage: the agent tells the tokens of the turn's last model call only"})
	}
}
