package backend

import "encoding/json"

// acpMachine holds one turn with an agent: initialize, open a session, choose
// mode and model, prompt. Each step is asked when the one before is answered, so
// that a replay of the agent's lines alone takes the same way.
type acpMachine struct {
	profile     acpProfile
	request     Request
	permissions string
	rpc         rpcClient
	opening     [][]byte
	events      []Event

	agent    acpAgent
	session  string
	choices  acpChoices
	turning  bool // between session/prompt and its answer; other updates are history
	text     acpText
	tools    acpTools
	calls    providerCalls
	earlier  string // id of the last message before the current model call
	tally    kimiTally
	verifier *acpVerifier
	ended    bool
}

// acpAgent is what an agent says of itself.
type acpAgent struct {
	Capabilities struct {
		Load    bool `json:"loadSession"`
		Session struct {
			Resume json.RawMessage `json:"resume"`
		} `json:"sessionCapabilities"`
	} `json:"agentCapabilities"`
}

func newACPMachine(profile acpProfile, r Request, permissions string) *acpMachine {
	m := &acpMachine{profile: profile, request: r, permissions: permissions}
	if r.Session == "" {
		m.tally.anew()
	}
	m.rpc.call("initialize", map[string]any{
		"protocolVersion": 1,
		"clientInfo":      map[string]any{"name": "penstock", "title": "Penstock", "version": "1"},
		"clientCapabilities": map[string]any{
			"fs":       map[string]any{"readTextFile": false, "writeTextFile": false},
			"terminal": false,
		},
	}, m.initialized)
	m.opening = m.rpc.take()
	return m
}

func (m *acpMachine) Open() [][]byte { return m.opening }
func (m *acpMachine) Close() []Event { return nil }

func (m *acpMachine) Line(line []byte) ([]Event, [][]byte) {
	if m.ended || blank(line) {
		return nil, nil
	}
	call, ofProvider := parseProviderLine(line)
	message, ok := parseRPC(line)
	switch {
	case ofProvider:
		m.called(call)
	case !ok:
		return []Event{strayLine(line)}, nil
	case message.isRequest():
		m.asked(message)
	case message.isAnswer():
		m.rpc.answered(message)
	case message.Method == "session/update":
		m.updated(message.Params)
	}
	events := m.events
	m.events = nil
	return events, m.rpc.take()
}

func (m *acpMachine) emit(events ...Event) { m.events = append(m.events, events...) }

func (m *acpMachine) end(e Event) {
	m.ended = true
	m.emit(e)
}

func (m *acpMachine) fail(f *Failure) { m.end(Event{Kind: Failed, Failure: f}) }

// refused ends the run when the agent answers one of our requests with an error.
func (m *acpMachine) refused(what string, answer rpcMessage) bool {
	if answer.Error == nil {
		return false
	}
	m.fail(acpFailure(what, *answer.Error))
	return true
}

// called follows the turn's model calls, and ends a turn that fails again and again.
func (m *acpMachine) called(l providerLine) {
	if l.Type == "provider_call" && m.calls.failure() == nil {
		m.earlier = m.text.last()
	}
	m.emit(m.calls.take(l, &m.text.answer)...)
	if f := m.calls.hopeless(m.profile.refusals, m.profile.breaks); f != nil {
		m.fail(f)
	}
}

func (m *acpMachine) initialized(answer rpcMessage) {
	if m.refused("initialize", answer) {
		return
	}
	decode(answer.Result, &m.agent)
	params := map[string]any{"cwd": m.request.Cwd, "mcpServers": []any{}}
	method := "session/new"
	if m.request.Session != "" {
		if method = m.agent.resume(); method == "" {
			m.fail(providerFailure(0, "the agent can't resume a session"))
			return
		}
		params["sessionId"] = m.request.Session
	}
	m.rpc.call(method, params, func(answer rpcMessage) { m.opened(method, answer) })
}

// resume is the method that takes up an old session. The one that does not send
// the whole conversation again is better.
func (a acpAgent) resume() string {
	switch {
	case a.Capabilities.Session.Resume != nil && string(a.Capabilities.Session.Resume) != "null":
		return "session/resume"
	case a.Capabilities.Load:
		return "session/load"
	}
	return ""
}

func (m *acpMachine) opened(method string, answer rpcMessage) {
	if m.refused(method, answer) {
		return
	}
	m.session = m.request.Session
	if m.session == "" {
		var result struct {
			Session string `json:"sessionId"`
		}
		if decode(answer.Result, &result); result.Session == "" {
			m.fail(providerFailure(0, method+": the agent gave no session id"))
			return
		}
		m.session = result.Session
	}
	m.emit(Event{Kind: Session, Session: m.session})
	decode(answer.Result, &m.choices)
	m.chooseMode()
}

// prompt sends the turn, once the session is as it should be.
func (m *acpMachine) prompt() {
	if m.profile.tally && m.request.Session != "" && !m.tally.known {
		m.askUsage(m.prompt)
		return
	}
	m.turning = true
	m.tell(plainPrompt(string(promptWithSystem(m.request))), m.turnEnded)
}

// tell sends a text to the agent as the user's.
func (m *acpMachine) tell(text string, then func(rpcMessage)) {
	m.rpc.call("session/prompt", map[string]any{
		"sessionId": m.session,
		"prompt":    []any{map[string]any{"type": "text", "text": text}},
	}, then)
}
