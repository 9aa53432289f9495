package backend

import (
	"encoding/json"
	"strings"
)

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
	loaded   int  // our requests when the session was loaded
	turning  bool // since session/prompt; other updates are history
	barred   bool // what came late after the prompt's answer has been waited for
	text     acpText
	tools    acpTools
	calls    providerCalls
	earlier  string // id of the last message before the current model call
	tally    kimiTally
	verifier *acpVerifier
	failed   bool   // the agent says so of the turn
	reason   string // its own word after that
	ended    bool
}

// acpAgent is what an agent says of itself.
type acpAgent struct {
	Info struct {
		Name string `json:"name"`
	} `json:"agentInfo"`
	Capabilities struct {
		Load    bool `json:"loadSession"`
		Session struct {
			Resume json.RawMessage `json:"resume"`
			List   json.RawMessage `json:"list"`
		} `json:"sessionCapabilities"`
	} `json:"agentCapabilities"`
}

func offered(capability json.RawMessage) bool {
	return capability != nil && string(capability) != "null" && string(capability) != "false"
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
func (m *acpMachine) Close() []Event { return m.text.answer.flush() }

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
	m.emit(m.text.answer.flush()...)
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
	switch {
	case m.request.Session == "":
		m.open("session/new")
	case offered(m.agent.Capabilities.Session.Resume): // it does not send the whole conversation again
		m.open("session/resume")
	case m.agent.Capabilities.Load:
		m.open("session/load")
	default:
		m.fail(sessionUnknown("the agent can't resume a session"))
	}
}

func (m *acpMachine) open(method string) {
	params := map[string]any{"cwd": m.request.Cwd, "mcpServers": []any{}}
	if m.request.Session != "" {
		params["sessionId"] = m.request.Session
	}
	m.rpc.call(method, params, func(answer rpcMessage) { m.opened(method, answer) })
}

func (m *acpMachine) opened(method string, answer rpcMessage) {
	if answer.Error != nil && method == "session/resume" && m.agent.Capabilities.Load {
		m.open("session/load") // some say that they can resume, and only load
		return
	}
	if answer.Error != nil && m.request.Session != "" {
		m.unresumed(acpFailure(method, *answer.Error))
		return
	}
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
	if method == "session/load" {
		m.loaded = m.rpc.asked
	}
	m.chooseMode()
}

// unresumed is for an agent that refused to take up the session: it doesn't know
// it where it says so, or where its list of the sessions is without it.
func (m *acpMachine) unresumed(f *Failure) {
	text := strings.ToLower(f.Message)
	for _, words := range []string{"unknown session", "session not found", "no such session"} {
		f.SessionUnknown = f.SessionUnknown || strings.Contains(text, words)
	}
	if f.SessionUnknown || f.Code != "cli_error" || !offered(m.agent.Capabilities.Session.List) {
		m.fail(f)
		return
	}
	m.rpc.call("session/list", map[string]any{"cwd": m.request.Cwd}, func(answer rpcMessage) {
		var list struct {
			Sessions []struct {
				ID string `json:"sessionId"`
			} `json:"sessions"`
			Next json.RawMessage `json:"nextCursor"`
		}
		f.SessionUnknown = answer.Error == nil && decode(answer.Result, &list) && list.Sessions != nil && !offered(list.Next)
		for _, s := range list.Sessions {
			f.SessionUnknown = f.SessionUnknown && s.ID != m.request.Session
		}
		m.fail(f)
	})
}

// barrier asks for something harmless that the agent offers and goes on with its
// answer: what the agent was still sending comes before. An agent that offers
// nothing of the kind isn't waited for: it might never answer.
func (m *acpMachine) barrier(then func()) {
	next := func(rpcMessage) { then() }
	mode, hasMode := m.choices.option("mode")
	switch {
	case offered(m.agent.Capabilities.Session.List):
		m.rpc.call("session/list", map[string]any{"cwd": m.request.Cwd}, next)
	case m.choices.Modes.Current != "":
		m.rpc.call("session/set_mode", map[string]any{"sessionId": m.session, "modeId": m.choices.Modes.Current}, next)
	case hasMode && mode.Current != "":
		m.rpc.call("session/set_config_option", map[string]any{"sessionId": m.session, "configId": mode.ID, "value": mode.Current}, next)
	default:
		then()
	}
}

// prompt sends the turn, once the session is as it should be.
func (m *acpMachine) prompt() {
	// The old conversation may come after the answer of its load: what is asked
	// for next, be it in vain, gives it the time.
	if m.loaded == m.rpc.asked {
		m.loaded = 0
		m.barrier(m.prompt)
		return
	}
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
