package codex

import (
	"encoding/json"
	"path"
	"slices"
	"strings"

	"penstock/backend"
	"penstock/backend/jsonrpc"
	"penstock/backend/parse"
)

// machine holds one turn of one thread with codex: open the thread, start
// the turn, follow it to turn/completed. Lines of other threads (codex's own
// sub-agents) and of earlier turns are not part of the answer. A second prompt
// (Reprompt) is another turn of the same thread.
type machine struct {
	request     backend.Request
	permissions string
	rpc         jsonrpc.Client
	opening     [][]byte
	events      []backend.Event

	thread, turn string
	model        string // as the thread has it
	begun        bool   // the turn was asked for
	text         messageText
	usage        usage
	reasoning    reasoning
	failure      *Error // told without a retry; the turn's end tells whether it counts
	ended        bool
}

func newMachine(r backend.Request, permissions string) *machine {
	m := &machine{request: r, permissions: permissions}
	if r.Schema != nil || r.AnyObject {
		m.text.final = new(finalMessage)
	}
	m.rpc.Expect(modelsCall, m.seen)
	m.rpc.Expect(damagedCall, m.damaged)
	m.rpc.Call("initialize", map[string]any{
		"clientInfo":   map[string]any{"name": "penstock", "title": "Penstock", "version": "1"},
		"capabilities": map[string]any{"experimentalApi": true, "optOutNotificationMethods": quiet()},
	}, m.initialized)
	m.opening = m.rpc.Take()
	return m
}

// quiet are notifications that only bring in pieces what the end of an item
// has whole; they would fill the run's output.
func quiet() []string {
	return []string{"item/commandExecution/outputDelta", "item/fileChange/outputDelta", "item/fileChange/patchUpdated", "turn/diff/updated"}
}

func (m *machine) Open() [][]byte { return m.opening }

// Close is the last word when codex died between an error and the turn's end.
func (m *machine) Close() []backend.Event {
	if !m.ended && m.failure != nil {
		m.end(TurnFailed(&m.text.answer, *m.failure))
		return m.events
	}
	return m.text.answer.Flush()
}

// Reprompt begins another turn of the thread.
func (m *machine) Reprompt(text string) [][]byte {
	m.ended, m.turn, m.failure = false, "", nil
	m.text.anew()
	m.start(map[string]any{"input": []any{textItem(text)}})
	return m.rpc.Take()
}

func (m *machine) Line(line []byte) ([]backend.Event, [][]byte) {
	if m.ended || parse.Blank(line) {
		return nil, nil
	}
	message, ok := jsonrpc.Parse(line)
	switch {
	case !ok:
		return []backend.Event{parse.StrayLine(line)}, nil
	case message.IsRequest():
		m.asked(message)
	case message.IsAnswer():
		m.rpc.Answered(message)
	default:
		m.notified(message)
	}
	events := m.events
	m.events = nil
	return events, m.rpc.Take()
}

func (m *machine) emit(events ...backend.Event) { m.events = append(m.events, events...) }

func (m *machine) end(e backend.Event) {
	m.ended = true
	if e.Kind == backend.Done {
		m.emit(m.text.settled()...)
	}
	m.emit(m.text.answer.Flush()...)
	m.emit(e)
}

// endFailed ends a turn that failed. Where the provider couldn't be reached codex
// may have no login either, which is the better reason to give.
func (m *machine) endFailed(e Error) {
	end := TurnFailed(&m.text.answer, e)
	if f := end.Failure; f == nil || f.Status != 0 || f.Code != "provider_error" {
		m.end(end)
		return
	}
	m.rpc.Call("account/read", map[string]any{}, func(answer jsonrpc.Message) {
		var r struct {
			Account  json.RawMessage `json:"account"`
			Required bool            `json:"requiresOpenaiAuth"`
		}
		if answer.Error == nil && parse.Decode(answer.Result, &r) && r.Required && !jsonrpc.Present(r.Account) {
			end.Failure = parse.NoLogin("codex is not logged in, and " + end.Failure.Message)
		}
		m.end(end)
	})
}

// refused ends the run when codex answers one of our requests with an error.
func (m *machine) refused(what string, answer jsonrpc.Message) bool {
	if answer.Error == nil {
		return false
	}
	message := answer.Error.Message
	failure := parse.ProviderFailure(parse.StatusIn(message), what+": "+message)
	failure.SessionUnknown = what == "thread/resume" && strings.Contains(message, "no rollout found") // 0.169.0
	m.end(backend.Event{Kind: backend.Failed, Failure: failure})
	return true
}

func (m *machine) initialized(answer jsonrpc.Message) {
	if m.refused("initialize", answer) {
		return
	}
	m.rpc.Notify("initialized")
	params, err := policy(m.permissions)
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
	m.rpc.Call(method, params, func(answer jsonrpc.Message) { m.opened(method, answer) })
}

func (m *machine) opened(method string, answer jsonrpc.Message) {
	if m.refused(method, answer) {
		return
	}
	var result struct {
		Model  string `json:"model"`
		Thread struct {
			ID string `json:"id"`
		} `json:"thread"`
	}
	if !parse.Decode(answer.Result, &result) || result.Thread.ID == "" {
		m.end(backend.Event{Kind: backend.Failed, Failure: parse.ProviderFailure(0, method+": codex gave no thread id")})
		return
	}
	m.thread, m.model = result.Thread.ID, result.Model
	m.emit(backend.Event{Kind: backend.Session, Session: m.thread})
	if m.request.Session == "" {
		m.usage.anew(m.thread)
	}
	switch images := m.request.Images(); {
	case slices.ContainsFunc(images, func(a backend.Attachment) bool { return !isWhole(a) }):
		m.rpc.Ask(damagedCall, "model/list", map[string]any{})
	case len(images) > 0:
		m.rpc.Ask(modelsCall, "model/list", map[string]any{"includeHidden": true})
	default:
		m.prompt()
	}
}

// The names of requests that are only made for images: modelsCall for codex's models, and
// damagedCall for an answer that tells a replay, which knows of no images, why the run ended.
const (
	modelsCall  = "models"
	damagedCall = "damaged image"
)

func (m *machine) damaged(jsonrpc.Message) {
	m.end(backend.Event{Kind: backend.Failed, Failure: parse.UnsupportedInput("an image is damaged or cut short, and codex would leave it out without a word (hint: make the file anew)")})
}

// seen refuses images that codex would leave out without a word to us: those for a model
// that its list knows to take none. It sends them to a model that the list doesn't know.
func (m *machine) seen(answer jsonrpc.Message) {
	var list struct {
		Data []struct {
			Model      string   `json:"model"`
			Modalities []string `json:"inputModalities"`
		} `json:"data"`
	}
	parse.Decode(answer.Result, &list)
	for _, known := range list.Data {
		if known.Model == m.model && known.Modalities != nil && !slices.Contains(known.Modalities, "image") {
			m.end(backend.Event{Kind: backend.Failed, Failure: parse.UnsupportedInput("codex's model " + m.model + " takes no images (hint: choose one that does, codex lists its input modalities)")})
			return
		}
	}
	if !m.begun {
		m.prompt()
	}
}

func textItem(text string) map[string]any {
	return map[string]any{"type": "text", "text": text, "text_elements": []any{}}
}

// prompt starts the turn with what goes with it. Images are files of the run's directory:
// codex keeps their data with the thread, and prints an item with the data itself twice.
func (m *machine) prompt() {
	_, documents := m.request.Documents()
	input := []any{textItem(m.request.Prompt + documents)}
	for _, image := range m.request.ImageFiles() {
		input = append(input, map[string]any{"type": "localImage", "path": path.Join(m.request.Dir, image.Name)})
	}
	params := map[string]any{"input": input}
	if m.request.Session != "" && m.request.System != "" {
		// thread/resume takes developerInstructions and ignores them (0.169.0).
		params["additionalContext"] = map[string]any{"system": map[string]any{"kind": "application", "value": m.request.System}}
	}
	m.start(params)
	m.request = m.request.Told()
}

func (m *machine) start(params map[string]any) {
	m.begun = true
	params["threadId"] = m.thread
	if effort, err := effortLevel(m.request.Effort); err == nil && effort != "" {
		params["effort"] = effort
	}
	if m.request.Schema != nil && isStrict(m.request.Schema) {
		params["outputSchema"] = m.request.Schema
	}
	m.rpc.Call("turn/start", params, m.started)
}

func (m *machine) started(answer jsonrpc.Message) {
	if m.refused("turn/start", answer) {
		return
	}
	var result struct {
		Turn struct {
			ID string `json:"id"`
		} `json:"turn"`
	}
	if parse.Decode(answer.Result, &result) && m.turn == "" {
		m.turn = result.Turn.ID
	}
}

// asked answers codex's requests. No person is there to approve anything: with
// "bypass" codex does not ask, so what it asks is declined, and it goes on.
func (m *machine) asked(request jsonrpc.Message) {
	switch request.Method {
	case "item/commandExecution/requestApproval", "item/fileChange/requestApproval":
		m.rpc.Reply(request.ID, map[string]any{"decision": "decline"})
	case "execCommandApproval", "applyPatchApproval":
		m.rpc.Reply(request.ID, map[string]any{"decision": "denied"})
	case "mcpServer/elicitation/request":
		m.rpc.Reply(request.ID, map[string]any{"action": "decline"})
	case "item/permissions/requestApproval":
		m.rpc.Reply(request.ID, map[string]any{"permissions": map[string]any{}})
	case "item/tool/requestUserInput":
		m.rpc.Reply(request.ID, map[string]any{"answers": map[string]any{}})
	case "item/tool/call":
		m.rpc.Reply(request.ID, map[string]any{"contentItems": []any{}, "success": false})
	default:
		m.rpc.Refuse(request.ID, jsonrpc.MethodNotFound, request.Method+": not offered by this client")
	}
}

// notification are the fields of the notifications that count, together.
type notification struct {
	ThreadID  string          `json:"threadId"`
	TurnID    string          `json:"turnId"`
	ItemID    string          `json:"itemId"`
	Delta     parse.JSONText  `json:"delta"`
	Message   string          `json:"message"`   // warning
	FromModel string          `json:"fromModel"` // model/rerouted
	ToModel   string          `json:"toModel"`
	WillRetry bool            `json:"willRetry"`
	Error     *Error          `json:"error"`
	Item      json.RawMessage `json:"item"`
	Turn      struct {
		ID     string `json:"id"`
		Status string `json:"status"`
		Error  *Error `json:"error"`
	} `json:"turn"`
	TokenUsage struct {
		Last  tokenCounts `json:"last"`
		Total tokenCounts `json:"total"`
	} `json:"tokenUsage"`
}

// ours is true for what belongs to the turn we started.
func (m *machine) ours(p notification) bool {
	turn := p.TurnID
	if turn == "" {
		turn = p.Turn.ID
	}
	return m.turn != "" && turn == m.turn && p.ThreadID == m.thread
}
