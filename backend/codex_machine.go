package backend

import (
	"encoding/json"
	"strings"
)

// codexMachine holds one turn of one thread with codex: open the thread, start
// the turn, follow it to turn/completed. Lines of other threads (codex's own
// sub-agents) and of earlier turns are not part of the answer.
type codexMachine struct {
	request     Request
	permissions string
	rpc         rpcClient
	opening     [][]byte
	events      []Event

	thread, turn string
	text         codexText
	usage        codexUsage
	reasoning    codexReasoning
	failure      *codexError // told without a retry; the turn's end tells whether it counts
	ended        bool
}

func newCodexMachine(r Request, permissions string) *codexMachine {
	m := &codexMachine{request: r, permissions: permissions}
	m.rpc.call("initialize", map[string]any{
		"clientInfo":   map[string]any{"name": "penstock", "title": "Penstock", "version": "1"},
		"capabilities": map[string]any{"experimentalApi": true, "optOutNotificationMethods": codexQuiet()},
	}, m.initialized)
	m.opening = m.rpc.take()
	return m
}

// codexQuiet are notifications that only bring in pieces what the end of an item
// has whole; they would fill the run's output.
func codexQuiet() []string {
	return []string{"item/commandExecution/outputDelta", "item/fileChange/outputDelta", "item/fileChange/patchUpdated", "turn/diff/updated"}
}

func (m *codexMachine) Open() [][]byte { return m.opening }

// Close is the last word when codex died between an error and the turn's end.
func (m *codexMachine) Close() []Event {
	if m.ended || m.failure == nil {
		return m.text.answer.flush()
	}
	m.ended = true
	return append(m.text.answer.flush(), m.text.answer.failed(*m.failure))
}

func (m *codexMachine) Line(line []byte) ([]Event, [][]byte) {
	if m.ended || blank(line) {
		return nil, nil
	}
	message, ok := parseRPC(line)
	switch {
	case !ok:
		return []Event{strayLine(line)}, nil
	case message.isRequest():
		m.asked(message)
	case message.isAnswer():
		m.rpc.answered(message)
	default:
		m.notified(message)
	}
	events := m.events
	m.events = nil
	return events, m.rpc.take()
}

func (m *codexMachine) emit(events ...Event) { m.events = append(m.events, events...) }

func (m *codexMachine) end(e Event) {
	m.ended = true
	m.emit(m.text.answer.flush()...)
	m.emit(e)
}

// endFailed ends a turn that failed. Where the provider couldn't be reached codex
// may have no login either, which is the better reason to give.
func (m *codexMachine) endFailed(e codexError) {
	end := m.text.answer.failed(e)
	if f := end.Failure; f == nil || f.Status != 0 || f.Code != "provider_error" {
		m.end(end)
		return
	}
	m.rpc.call("account/read", map[string]any{}, func(answer rpcMessage) {
		var r struct {
			Account  json.RawMessage `json:"account"`
			Required bool            `json:"requiresOpenaiAuth"`
		}
		if answer.Error == nil && decode(answer.Result, &r) && r.Required && !offered(r.Account) {
			end.Failure = noLogin("codex is not logged in, and " + end.Failure.Message)
		}
		m.end(end)
	})
}

// refused ends the run when codex answers one of our requests with an error.
func (m *codexMachine) refused(what string, answer rpcMessage) bool {
	if answer.Error == nil {
		return false
	}
	message := answer.Error.Message
	failure := providerFailure(statusIn(message), what+": "+message)
	failure.SessionUnknown = what == "thread/resume" && strings.Contains(message, "no rollout found") // 0.169.0
	m.end(Event{Kind: Failed, Failure: failure})
	return true
}

func (m *codexMachine) initialized(answer rpcMessage) {
	if m.refused("initialize", answer) {
		return
	}
	m.rpc.notify("initialized")
	params, err := codexPolicy(m.permissions)
	if err != nil { // Command has refused it already
		params = map[string]any{}
	}
	params["cwd"] = m.request.Cwd
	if m.request.Model != "" {
		params["model"] = m.request.Model
	}
	method := "thread/start"
	switch {
	case m.request.Session == "" && m.request.System != "":
		params["developerInstructions"] = m.request.System
	case m.request.Session != "":
		method = "thread/resume"
		params["threadId"] = m.request.Session
		params["excludeTurns"] = true // else the whole conversation comes back in one line
	}
	m.rpc.call(method, params, func(answer rpcMessage) { m.opened(method, answer) })
}

func (m *codexMachine) opened(method string, answer rpcMessage) {
	if m.refused(method, answer) {
		return
	}
	var result struct {
		Thread struct {
			ID string `json:"id"`
		} `json:"thread"`
	}
	if !decode(answer.Result, &result) || result.Thread.ID == "" {
		m.end(Event{Kind: Failed, Failure: providerFailure(0, method+": codex gave no thread id")})
		return
	}
	m.thread = result.Thread.ID
	m.emit(Event{Kind: Session, Session: m.thread})
	if m.request.Session == "" {
		m.usage.anew(m.thread)
	}
	params := map[string]any{
		"threadId": m.thread,
		"input":    []any{map[string]any{"type": "text", "text": m.request.Prompt, "text_elements": []any{}}},
	}
	if m.request.Session != "" && m.request.System != "" {
		// thread/resume takes developerInstructions and ignores them (0.169.0).
		params["additionalContext"] = map[string]any{"system": map[string]any{"kind": "application", "value": m.request.System}}
	}
	if effort, err := codexEffort(m.request.Effort); err == nil && effort != "" {
		params["effort"] = effort
	}
	m.rpc.call("turn/start", params, m.started)
}

func (m *codexMachine) started(answer rpcMessage) {
	if m.refused("turn/start", answer) {
		return
	}
	var result struct {
		Turn struct {
			ID string `json:"id"`
		} `json:"turn"`
	}
	if decode(answer.Result, &result) && m.turn == "" {
		m.turn = result.Turn.ID
	}
}

// asked answers codex's requests. Nobody is there to approve anything: with
// "bypass" codex does not ask, so what it asks is declined, and it goes on.
func (m *codexMachine) asked(request rpcMessage) {
	switch request.Method {
	case "item/commandExecution/requestApproval", "item/fileChange/requestApproval":
		m.rpc.reply(request.ID, map[string]any{"decision": "decline"})
	case "execCommandApproval", "applyPatchApproval":
		m.rpc.reply(request.ID, map[string]any{"decision": "denied"})
	case "mcpServer/elicitation/request":
		m.rpc.reply(request.ID, map[string]any{"action": "decline"})
	case "item/permissions/requestApproval":
		m.rpc.reply(request.ID, map[string]any{"permissions": map[string]any{}})
	case "item/tool/requestUserInput":
		m.rpc.reply(request.ID, map[string]any{"answers": map[string]any{}})
	case "item/tool/call":
		m.rpc.reply(request.ID, map[string]any{"contentItems": []any{}, "success": false})
	default:
		m.rpc.refuse(request.ID, rpcMethodNotFound, request.Method+": not offered by this client")
	}
}

// codexParams are the fields of the notifications that count, together.
type codexParams struct {
	ThreadID  string          `json:"threadId"`
	TurnID    string          `json:"turnId"`
	ItemID    string          `json:"itemId"`
	Delta     words           `json:"delta"`
	Message   string          `json:"message"`   // warning
	FromModel string          `json:"fromModel"` // model/rerouted
	ToModel   string          `json:"toModel"`
	WillRetry bool            `json:"willRetry"`
	Error     *codexError     `json:"error"`
	Item      json.RawMessage `json:"item"`
	Turn      struct {
		ID     string      `json:"id"`
		Status string      `json:"status"`
		Error  *codexError `json:"error"`
	} `json:"turn"`
	TokenUsage struct {
		Last  codexTokens `json:"last"`
		Total codexTokens `json:"total"`
	} `json:"tokenUsage"`
}

// ours is true for what belongs to the turn we started.
func (m *codexMachine) ours(p codexParams) bool {
	turn := p.TurnID
	if turn == "" {
		turn = p.Turn.ID
	}
	return m.turn != "" && turn == m.turn && p.ThreadID == m.thread
}
