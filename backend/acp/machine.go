package acp

import (
	"encoding/json"
	"strings"

	"penstock/backend"
	"penstock/backend/jsonrpc"
	"penstock/backend/parse"
	"penstock/backend/provider"
)

// machine holds one turn with an agent: initialize, open a session, choose
// mode and model, prompt. Each step is asked when the one before is answered, so
// that a replay of the agent's lines alone takes the same way. A second prompt
// (Reprompt) goes the same way from where the session is to be opened, or told.
type machine struct {
	profile     profile
	request     backend.Request
	permissions string
	rpc         jsonrpc.Client
	opening     [][]byte
	events      []backend.Event

	agent    agentInfo
	session  string
	choices  choices
	loaded   int  // our requests when the session was loaded
	turning  bool // since session/prompt; other updates are history
	barred   bool // what came late after the prompt's answer has been waited for
	text     answerText
	thinks   bool // there was a thought
	tools    toolCalls
	calls    provider.Calls
	earlier  string // id of the last message before the current model call
	tally    kimiTally
	spent    spent
	verifier *verifier
	models   provider.Models
	again    *string // the second prompt, once there is one
	failed   bool    // the agent says so of the turn
	reason   string  // its own word after that
	ended    bool
}

// agentInfo is what an agent says of itself.
type agentInfo struct {
	Info struct {
		Name string `json:"name"`
	} `json:"agentInfo"`
	Capabilities struct {
		Load   bool `json:"loadSession"`
		Prompt struct {
			Image bool `json:"image"`
		} `json:"promptCapabilities"`
		Session struct {
			Resume json.RawMessage `json:"resume"`
			List   json.RawMessage `json:"list"`
		} `json:"sessionCapabilities"`
	} `json:"agentCapabilities"`
}

func newMachine(profile profile, r backend.Request, permissions string) *machine {
	m := &machine{profile: profile, request: r, permissions: permissions, tools: toolCalls{ids: profile.toolIDs}}
	if r.Session == "" {
		m.tally.anew()
	}
	m.expectRefusals()
	m.rpc.Call("initialize", initialize(), m.initialized)
	m.opening = m.rpc.Take()
	return m
}

func initialize() map[string]any {
	return map[string]any{
		"protocolVersion": 1,
		"clientInfo":      map[string]any{"name": "penstock", "title": "Penstock", "version": "1"},
		"clientCapabilities": map[string]any{
			"fs":       map[string]any{"readTextFile": false, "writeTextFile": false},
			"terminal": false,
		},
	}
}

func (m *machine) Open() [][]byte { return m.opening }

// Reprompt tells the agent text in the same session, which one that had to close it opens
// again.
func (m *machine) Reprompt(text string) [][]byte {
	m.ended, m.barred, m.turning, m.verifier = false, false, false, nil
	m.failed, m.reason = false, ""
	m.text.anew()
	m.tools.used = false
	m.tally.again()
	m.again = &text
	if m.profile.close {
		m.take(m.session)
	} else {
		m.prompt()
	}
	return m.rpc.Take()
}

func (m *machine) Close() []backend.Event { return m.text.answer.Flush() }

func (m *machine) Line(line []byte) ([]backend.Event, [][]byte) {
	if m.ended || parse.Blank(line) {
		return nil, nil
	}
	call, ofProvider := provider.ParseLine(line)
	message, ok := jsonrpc.Parse(line)
	switch {
	case ofProvider:
		m.called(call)
	case !ok:
		return []backend.Event{parse.StrayLine(line)}, nil
	case message.IsRequest():
		m.asked(message)
	case message.IsAnswer():
		m.rpc.Answered(message)
	case message.Method == "session/update":
		m.updated(message.Params)
	}
	events := m.events
	m.events = nil
	return events, m.rpc.Take()
}

func (m *machine) emit(events ...backend.Event) { m.events = append(m.events, events...) }

func (m *machine) end(e backend.Event) {
	m.ended = true
	m.emit(m.text.answer.Flush()...)
	m.emit(e)
}

func (m *machine) fail(f *backend.Failure) { m.end(backend.Event{Kind: backend.Failed, Failure: f}) }

// refused ends the run when the agent answers one of our requests with an error.
func (m *machine) refused(what string, answer jsonrpc.Message) bool {
	if answer.Error == nil {
		return false
	}
	m.fail(failureOf(what, *answer.Error))
	return true
}

// called follows the turn's model calls, and ends a turn that fails again and again.
func (m *machine) called(l provider.Line) {
	if l.Type == "provider_models" {
		m.models = l.Models
		return
	}
	if l.Type == "provider_call" && m.calls.Failure() == nil {
		m.earlier = m.text.last()
	}
	m.emit(m.calls.Take(l, &m.text.answer)...)
	if f := m.calls.Hopeless(m.profile.refusals, m.profile.breaks); f != nil {
		m.fail(f)
	}
}

func (m *machine) initialized(answer jsonrpc.Message) {
	if m.refused("initialize", answer) {
		return
	}
	parse.Decode(answer.Result, &m.agent)
	switch {
	case len(m.request.Images()) > 0 && !m.agent.Capabilities.Prompt.Image:
		m.refuse(agentIsBlind)
	case m.request.Session == "":
		m.open("session/new", "")
	default:
		m.take(m.request.Session)
	}
}

// take opens a session that is there.
func (m *machine) take(session string) {
	switch {
	case jsonrpc.Present(m.agent.Capabilities.Session.Resume): // it does not send the whole conversation again
		m.open("session/resume", session)
	case m.agent.Capabilities.Load:
		m.open("session/load", session)
	default:
		m.fail(parse.SessionUnknown("the agent can't resume a session"))
	}
}

func (m *machine) open(method, session string) {
	params := map[string]any{"cwd": m.request.Cwd, "mcpServers": []any{}}
	if session != "" {
		params["sessionId"] = session
	}
	m.rpc.Call(method, params, func(answer jsonrpc.Message) { m.opened(method, session, answer) })
}

func (m *machine) opened(method, session string, answer jsonrpc.Message) {
	if answer.Error != nil && method == "session/resume" && m.agent.Capabilities.Load {
		m.open("session/load", session) // some say that they can resume, and only load
		return
	}
	if answer.Error != nil && session != "" && m.again == nil {
		m.unresumed(failureOf(method, *answer.Error))
		return
	}
	if answer.Error != nil {
		m.fail(m.withLogin(*answer.Error, failureOf(method, *answer.Error)))
		return
	}
	if m.session = session; session == "" {
		var result struct {
			Session string `json:"sessionId"`
		}
		if parse.Decode(answer.Result, &result); result.Session == "" {
			m.fail(parse.ProviderFailure(0, method+": the agent gave no session id"))
			return
		}
		m.session = result.Session
	}
	if m.again == nil {
		m.emit(backend.Event{Kind: backend.Session, Session: m.session})
	}
	m.choices = choices{}
	parse.Decode(answer.Result, &m.choices)
	if method == "session/load" {
		m.loaded = m.rpc.Asked
	}
	m.chooseMode()
}

// unresumed is for an agent that refused to take up the session: it doesn't know
// it where it says so, or where its list of the sessions is without it.
func (m *machine) unresumed(f *backend.Failure) {
	text := strings.ToLower(f.Message)
	for _, words := range []string{"unknown session", "session not found", "no such session"} {
		f.SessionUnknown = f.SessionUnknown || strings.Contains(text, words)
	}
	if f.SessionUnknown || f.Code != "cli_error" || !jsonrpc.Present(m.agent.Capabilities.Session.List) {
		m.fail(f)
		return
	}
	m.rpc.Call("session/list", map[string]any{"cwd": m.request.Cwd}, func(answer jsonrpc.Message) {
		var list struct {
			Sessions []struct {
				ID string `json:"sessionId"`
			} `json:"sessions"`
			Next json.RawMessage `json:"nextCursor"`
		}
		f.SessionUnknown = answer.Error == nil && parse.Decode(answer.Result, &list) && list.Sessions != nil && !jsonrpc.Present(list.Next)
		for _, s := range list.Sessions {
			f.SessionUnknown = f.SessionUnknown && s.ID != m.request.Session
		}
		m.fail(f)
	})
}

// barrier asks for something harmless that the agent offers and goes on with its
// answer: what the agent was still sending comes before. An agent that offers
// nothing of the kind isn't waited for: it might never answer.
func (m *machine) barrier(then func()) {
	next := func(jsonrpc.Message) { then() }
	mode, hasMode := m.choices.option("mode")
	switch {
	case jsonrpc.Present(m.agent.Capabilities.Session.List):
		m.rpc.Call("session/list", map[string]any{"cwd": m.request.Cwd}, next)
	case m.choices.Modes.Current != "":
		m.rpc.Call("session/set_mode", map[string]any{"sessionId": m.session, "modeId": m.choices.Modes.Current}, next)
	case hasMode && mode.Current != "":
		m.rpc.Call("session/set_config_option", map[string]any{"sessionId": m.session, "configId": mode.ID, "value": mode.Current}, next)
	default:
		then()
	}
}

// prompt sends the turn, once the session is as it should be.
func (m *machine) prompt() {
	// The old conversation may come after the answer of its load: what is asked
	// for next, be it in vain, gives it the time.
	if m.loaded == m.rpc.Asked {
		m.loaded = 0
		m.barrier(m.prompt)
		return
	}
	if m.profile.tally && m.request.Session != "" && !m.tally.known {
		m.askUsage(m.prompt)
		return
	}
	if m.again != nil {
		m.turning = true
		m.tell(m.turnEnded, textBlock(m.plain(*m.again)))
		return
	}
	if why := m.blind(); why != "" {
		m.refuse(why)
		return
	}
	m.turning = true
	m.tell(m.turnEnded, m.content()...)
	m.request = m.request.Told()
}

// tell sends content to the agent as the user's.
func (m *machine) tell(then func(jsonrpc.Message), content ...any) {
	m.rpc.Call("session/prompt", map[string]any{"sessionId": m.session, "prompt": content}, then)
}
